"""The question whether a user already got an answer to the same message."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from storage import limits
from storage.models import ChatInteraction


@dataclass(frozen=True)
class Question:
    """A message of a user. With `model_used`, only answers by that model count."""

    user_id: str = field(repr=False)
    message: str = field(repr=False)  # texts stay out of logs
    model_used: str | None = None
    max_age: timedelta | None = None
    """The maximum age of the answered interaction. None is any age."""

    def can_be_answered(self) -> bool:
        """Whether such an interaction can exist, by the limits of its fields."""
        return not (
            limits.identifier_violation(self.user_id)
            or limits.text_violation(self.message)
            or (self.model_used is not None and limits.model_violation(self.model_used))
        )

    def is_answered_by(self, interaction: ChatInteraction) -> bool:
        """Whether this interaction is an answer, of any age. Without a response it is none."""
        return (
            interaction.user_id == self.user_id
            and interaction.message == self.message
            and interaction.response != ""
            and self.model_used in (None, interaction.model_used)
        )

    def is_recent(self, created_at: datetime) -> bool:
        """Whether an interaction of that time was created within `max_age`."""
        return self.max_age is None or datetime.now(UTC) - created_at <= self.max_age
