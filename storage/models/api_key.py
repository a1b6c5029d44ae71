"""`ApiKey`: with it, a chat service may use the API."""

from django.core.exceptions import ValidationError
from django.db import models
from rest_framework_api_key.models import AbstractAPIKey

from storage import limits


class ApiKey(AbstractAPIKey):
    """A hashed, revocable key: service-wide, or bound to one user's interactions.

    Only the hash of the key is stored. The key itself is shown once, when it is created.
    """

    user_id = models.CharField(
        max_length=limits.IDENTIFIER_MAX_LENGTH,
        blank=True,
        default="",
        help_text="The only user this key may read and write. Empty: the key is service-wide.",
    )

    may_erase = models.BooleanField(
        "may erase and export users",
        default=False,
        help_text="Whether this key, which must be service-wide, may erase and export users.",
    )

    last_used_at = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="To the minute, about."
    )

    class Meta(AbstractAPIKey.Meta):
        verbose_name = "API key"
        permissions = [
            ("grant_service_wide", "Can give API keys access to every user"),
            ("grant_erasure", "Can give API keys the right to erase and export users"),
        ]

    def clean(self) -> None:
        """A key bound to a user needs a valid user id, and cannot erase or export users."""
        is_new = self._state.adding  # one that is stored can be revoked, whatever its user's id
        check = limits.new_identifier_violation if is_new else limits.identifier_violation
        if self.user_id and (problem := check(self.user_id)):
            raise ValidationError({"user_id": problem})
        if self.user_id and self.may_erase:
            raise ValidationError(
                {"may_erase": "Only a service-wide key, without a user id, may erase users."}
            )


class ApiKeyUse(models.Model):
    """How many calls came with a key on a day (UTC), and how many of them were refused."""

    prefix = models.CharField(max_length=8, help_text="The prefix of the key.")
    day = models.DateField()
    calls = models.PositiveBigIntegerField(default=0)
    refused = models.PositiveBigIntegerField(default=0)

    class Meta:
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["prefix", "day"], name="api_key_use_once")]

    def __str__(self) -> str:
        return f"{self.prefix} {self.day}"
