"""Which interactions are due to be archived, and which to be deleted."""

from dataclasses import dataclass
from datetime import UTC, datetime

from django.conf import settings

from storage import expiry

LATEST = datetime.max.replace(tzinfo=UTC)
"""Later than anything was created."""


@dataclass(frozen=True)
class Policy:
    """The retention of interactions as of one moment, which must have an offset from UTC."""

    now: datetime
    hot_days: int
    total_days: int

    def __post_init__(self) -> None:
        if self.now.utcoffset() is None:
            raise ValueError("The moment of a policy needs an offset from UTC.")

    @classmethod
    def at(cls, now: datetime) -> "Policy":
        """The policy that the settings ask for."""
        return cls(now, settings.RETENTION_HOT_DAYS, settings.RETENTION_TOTAL_DAYS)

    @property
    def archive_until(self) -> datetime:
        """What was created at this moment or before it goes to cold storage."""
        return expiry.days_before(self.now, self.hot_days)

    @property
    def cutoff(self) -> datetime:
        """The retention cutoff: what was created then or before is deleted, and read no more.

        At the present moment it is `storage.expiry.cutoff()`, which every read respects.
        """
        return expiry.days_before(self.now, self.total_days)
