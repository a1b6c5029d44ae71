"""Asking whether a user got an answer to the same message before."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from storage import limits
from storage.models import ChatInteraction


@dataclass(frozen=True)
class Question:
    """A message of a user's; with `model_used`, only that model's answers count."""

    user_id: str = field(repr=False)
    message: str = field(repr=False)  # texts stay out of logs
    model_used: str | None = None
    max_age: timedelta | None = None
    """How long ago the answered interaction may have been created; None is any time."""

    def can_be_answered(self) -> bool:
        """Whether there can be such an interaction at all, by the limits of its fields."""
        return not (
            limits.identifier_violation(self.user_id)
            or limits.text_violation(self.message)
            or (self.model_used is not None and limits.model_violation(self.model_used))
        )

    def is_answered_by(self, interaction: ChatInteraction) -> bool:
        """Whether this is an answer, of whatever age. Without a response it is none."""
        return (
            interaction.user_id == self.user_id
            and interaction.message == self.message
            and interaction.response != ""
            and self.model_used in (None, interaction.model_used)
        )

    def is_recent(self, interaction: ChatInteraction) -> bool:
        """Whether it was created within `max_age`."""
        return self.max_age is None or datetime.now(UTC) - interaction.created_at <= self.max_age
