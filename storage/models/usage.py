"""What was used, day by day: roll-ups of all interactions, and the prices of models.

They are in the SQL database, wherever the interactions are. `Database.count_usage` brings
them up to date, and `manage.py rebuild_usage` counts everything again. Days are those of
`created_at`, in UTC.
"""

from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import Q

from storage import limits

ROLL_UPS_OF_USERS = "roll-ups of users"
"""The lock of whoever adds to them by what the stream tells, or deletes a user's: otherwise a user
who is being erased would get new ones."""


class UsageOfModel(models.Model):
    """The interactions of one model on one day. It is about nobody, and outlives all of them."""

    day = models.DateField()
    model_used = models.CharField(max_length=limits.MODEL_MAX_LENGTH)
    interactions = models.BigIntegerField(
        default=0, help_text="All that there ever were, whatever has become of them."
    )
    unanswered = models.BigIntegerField(
        default=0, help_text="Those among them that had no response, as far as is known."
    )
    input_tokens = models.BigIntegerField(default=0)
    output_tokens = models.BigIntegerField(default=0)
    hot = models.BigIntegerField(default=0, help_text="Those that are hot now.")
    cold = models.BigIntegerField(default=0, help_text="Those that are archived now.")

    class Meta:
        verbose_name = verbose_name_plural = "usage"
        default_permissions = ("view",)
        constraints = [
            models.UniqueConstraint(fields=["day", "model_used"], name="usage_of_model_once")
        ]

    def __str__(self) -> str:
        return f"{self.day} {self.model_used}"


class UsageOfUser(models.Model):
    """The interactions of one user with one model on one day. It ends with the user's data.

    An erasure deletes it, and so does the purge of its day.
    """

    day = models.DateField()
    user_id = models.CharField(max_length=limits.IDENTIFIER_MAX_LENGTH)
    model_used = models.CharField(max_length=limits.MODEL_MAX_LENGTH)
    interactions = models.BigIntegerField(default=0)
    unanswered = models.BigIntegerField(default=0)
    input_tokens = models.BigIntegerField(default=0)
    output_tokens = models.BigIntegerField(default=0)

    class Meta:
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(
                fields=["day", "user_id", "model_used"], name="usage_of_user_once"
            )
        ]  # its only index: each new row would cost a page more, and a user is found day by day

    def __str__(self) -> str:
        return f"{self.day} {self.model_used}"


class UsageRebuild(models.Model):
    """The rebuild that is due or under way: one row, or none if the roll-ups are complete."""

    done_until = models.DateField(
        null=True, help_text="The last day that is counted again; empty before the first."
    )

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"counted until {self.done_until}"


class StreamPosition(models.Model):
    """How far the changes of a shard of a DynamoDB table's stream are counted."""

    stream = models.CharField(max_length=255, help_text="The stream's ARN.")
    shard = models.CharField(max_length=128)
    sequence = models.CharField(
        max_length=64, blank=True, default="", help_text="The last change that is counted."
    )
    counted_until = models.DateTimeField()
    is_closed = models.BooleanField(default=False, help_text="It has ended, and is counted.")

    class Meta:
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(fields=["stream", "shard"], name="stream_position_once")
        ]

    def __str__(self) -> str:
        return self.shard


class ForgottenUser(models.Model):
    """That a user was erased: what the stream tells of the time before counts for nobody.

    Needed for as long as a stream keeps changes, a day.
    """

    pseudonym = models.CharField(max_length=32, primary_key=True)
    at = models.DateTimeField()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return self.pseudonym


class ModelPrice(models.Model):
    """What a model costs from a day on. Costs are computed when they are asked for."""

    model_used = models.CharField(
        "model", max_length=limits.MODEL_MAX_LENGTH, help_text="As interactions name it."
    )
    valid_from = models.DateField(
        help_text="The first day (UTC) with this price. It holds until the next one of the model."
    )
    input_price = models.DecimalField(
        max_digits=14,
        decimal_places=6,
        validators=[MinValueValidator(0)],
        help_text="Of a million input tokens.",
    )
    output_price = models.DecimalField(
        max_digits=14,
        decimal_places=6,
        validators=[MinValueValidator(0)],
        help_text="Of a million output tokens.",
    )
    note = models.CharField(
        max_length=200, blank=True, help_text="Where it is from, such as the provider's page."
    )

    class Meta:
        verbose_name = "price"
        ordering = ["model_used", "-valid_from"]
        constraints = [
            models.UniqueConstraint(
                fields=["model_used", "valid_from"],
                name="price_once",
                violation_error_message="This model has a price from that day already.",
            ),
            models.CheckConstraint(
                condition=Q(input_price__gte=0) & Q(output_price__gte=0), name="price_not_negative"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.model_used} from {self.valid_from}"
