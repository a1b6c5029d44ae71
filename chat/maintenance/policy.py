"""Which interactions are due to be archived, and which to be deleted."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.conf import settings


@dataclass(frozen=True)
class Policy:
    """The retention of interactions, seen from one moment, which must have an offset."""

    now: datetime
    hot_days: int
    total_days: int

    def __post_init__(self) -> None:
        if self.now.utcoffset() is None:
            raise ValueError("The moment of a policy needs an offset from UTC.")

    @classmethod
    def at(cls, now: datetime) -> "Policy":
        """What the settings ask for."""
        return cls(now, settings.RETENTION_HOT_DAYS, settings.RETENTION_TOTAL_DAYS)

    @property
    def archive_until(self) -> datetime:
        """What was created at this moment or before it goes to cold storage."""
        return self._days_ago(self.hot_days)

    @property
    def cutoff(self) -> datetime:
        """What was created at this moment or before it is deleted, and not read any more."""
        return self._days_ago(self.total_days)

    def _days_ago(self, days: int) -> datetime:
        try:
            # In UTC: elsewhere a day may have 23 or 25 hours, and Python would count it as one.
            return self.now.astimezone(UTC) - timedelta(days=days)
        except OverflowError:  # more than there have been
            return datetime.min.replace(tzinfo=UTC)
