"""`ChatInteraction`: the record type that all layers and backends share."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Func, Q, Value
from django.db.models.base import ModelState
from django.db.models.functions import Left, Length
from django.utils import timezone
from uuid_utils import uuid7

from storage import expiry, limits

Checks = Mapping[str, Callable[[object], str | None]]
"""For each field, a function that returns why a value is outside its limits, or None."""

CHECKS = {
    "interaction_id": limits.new_identifier_violation,
    "user_id": limits.new_identifier_violation,
    "message": limits.text_violation,
    "response": limits.text_violation,
    "model_used": limits.model_violation,
    "input_tokens": limits.tokens_violation,
    "output_tokens": limits.tokens_violation,
    "created_at": limits.time_violation,
    "updated_at": limits.time_violation,
}

CHECKS_OF_STORED = CHECKS | {
    "interaction_id": limits.identifier_violation,
    "user_id": limits.identifier_violation,
}
"""For what is stored already: its ids may be older than the rule about dot segments."""


def violations_in(values: Mapping[str, Any], checks: Checks = CHECKS) -> dict[str, str]:
    """Returns the limits that these fields break, as a sentence per field.

    Fields that are not among `values` are not checked.
    """
    problems = {}
    for name, check in checks.items():
        if name in values and (text := check(values[name])) is not None:
            problems[name] = text
    if (
        "created_at" in values
        and "created_at" not in problems
        and (expired := expiry.violation(values["created_at"]))
    ):
        problems["created_at"] = expired
    has_texts = "message" in values and "response" in values
    if has_texts and "message" not in problems and "response" not in problems:
        problems |= limits.size_violation(values["message"], values["response"])
    return problems


def new_interaction_id() -> str:
    """Returns a UUIDv7 (RFC 9562), so that later ids sort after earlier ones."""
    return str(uuid7())


MESSAGE_PART = 16
"""How many characters from each end of a message an index contains."""

HAS_RESPONSE = ~Q(response="")


def message_parts(message: Any) -> tuple[Any, ...]:
    """Returns the expressions that indexes contain instead of a message, which may be long.

    They are functions that every SQLite has, so other programs can write to the table, too.
    """
    text = models.TextField()
    end = Func(message, Value(-MESSAGE_PART), function="SUBSTR", output_field=text)
    return Length(message), Left(message, MESSAGE_PART), end


class ChatInteraction(models.Model):
    """One exchange with a language model. Times are UTC with microseconds.

    `user_id`, `message` and `response` are personal data. They must never appear in logs, metrics,
    `repr` or error reports. Save and read interactions through `storage.get_storage()`: the manager
    reaches only the SQL database, and in production they are not there.
    """

    interaction_id = models.CharField(
        primary_key=True, max_length=limits.IDENTIFIER_MAX_LENGTH, default=new_interaction_id
    )
    user_id = models.CharField(max_length=limits.IDENTIFIER_MAX_LENGTH)
    message = models.TextField(blank=True)
    response = models.TextField(
        blank=True, default="", help_text="Empty until a streamed answer has arrived."
    )
    model_used = models.CharField(max_length=limits.MODEL_MAX_LENGTH)
    input_tokens = models.PositiveBigIntegerField(default=0)
    output_tokens = models.PositiveBigIntegerField(default=0)
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)
    text_object = models.TextField(  # noqa: DJ001  (no text is no reference)
        null=True,
        editable=False,
        help_text="Names the object that has the texts, if they are large.",
    )

    class Meta:
        verbose_name = "interaction"
        ordering = ["-created_at", "-interaction_id"]
        default_permissions = ("view",)
        permissions = [
            ("read_texts", "Can read messages and responses"),
            ("export_user", "Can export all data of a user"),
            ("erase_user", "Can erase all data of a user"),
            ("hold_user", "Can put on and lift a legal hold"),
            ("restore_day", "Can make an archived day hot again"),
        ]
        indexes = [
            models.Index(
                fields=["user_id", "created_at", "interaction_id"], name="interaction_of_user"
            ),
            models.Index(fields=["created_at", "interaction_id"], name="interaction_newest"),
            models.Index(
                "user_id",
                *message_parts("message"),
                "model_used",
                "created_at",
                "interaction_id",
                condition=HAS_RESPONSE,
                name="interaction_answer",
            ),
            models.Index(
                fields=["text_object"],
                condition=models.Q(text_object__isnull=False),
                name="interaction_text_object",
            ),
        ]

    def __str__(self) -> str:
        return self.interaction_id

    @classmethod
    def from_values(cls, values: dict[str, Any]) -> "ChatInteraction":
        """Returns a new interaction. `values` must have every field, and becomes its `__dict__`.

        Skips `Model.__init__`, which takes longer than reading or checking a row. Nothing needs
        conversion or a default here.
        """
        interaction = cls.__new__(cls)
        interaction.__dict__ = values
        values["_state"] = ModelState()
        return interaction

    @classmethod
    def from_stored(cls, values: dict[str, Any]) -> "ChatInteraction":
        """Returns an interaction that is stored. `values` as for `from_values`."""
        interaction = cls.__new__(cls)
        state = values["_state"] = ModelState()
        state.adding = False
        interaction.__dict__ = values
        return interaction

    def clean(self) -> None:
        """Apply `storage.limits` in Django forms, too."""
        if problems := self.violations():
            raise ValidationError(problems)

    def violations(self, checks: Checks = CHECKS, cutoff: datetime | None = None) -> dict[str, str]:
        """Returns the limits that it breaks (`storage.limits`), as a sentence per field.

        `cutoff` is that of expiry, if it is known.
        """
        values = self.__dict__
        if limits.is_sound(values) and values["created_at"] > (cutoff or expiry.cutoff()):
            return {}
        return violations_in(values, checks)

    @property
    def text_bytes(self) -> int:
        """The size of `message` and `response` in bytes of UTF-8."""
        return limits.text_bytes(self.message, self.response)

    @property
    def position(self) -> tuple[datetime, str]:
        """Its position in lists, which are sorted by time, then by id."""
        return self.created_at, self.interaction_id

    def same_content(self, other: "ChatInteraction") -> bool:
        """Whether both have the same content. Times are not compared, since the store sets them."""
        return all(getattr(self, name) == getattr(other, name) for name in CONTENT_FIELDS)


CONTENT_FIELDS = (
    "interaction_id",
    "user_id",
    "message",
    "response",
    "model_used",
    "input_tokens",
    "output_tokens",
)
"""The fields that a client chooses."""

COMPLETED_FIELDS = ("response", "model_used", "input_tokens", "output_tokens")
"""The fields that `update_interaction` may change."""

FIELDS = (*CONTENT_FIELDS, "created_at", "updated_at")
"""All fields, in the order of the data model."""
