"""When an interaction expires: RETENTION_TOTAL_DAYS after it was created.

From that moment no read shows it and its id is free, on every backend, whenever it is
that its bytes are removed. DynamoDB's own TTL takes days to come round to them:
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/howitworks-ttl.html
"""

from datetime import UTC, datetime, timedelta

from django.conf import settings

MICROSECOND = timedelta(microseconds=1)


def cutoff() -> datetime:
    """What was created at this moment or before it has expired."""
    return days_before(datetime.now(UTC), settings.RETENTION_TOTAL_DAYS)


def hot_since() -> datetime:
    """What was created at this moment or before it is archived, or is about to be."""
    return days_before(datetime.now(UTC), settings.RETENTION_HOT_DAYS)


def lifetime() -> timedelta:
    """How long an interaction can be read."""
    return timedelta(days=settings.RETENTION_TOTAL_DAYS)


def has_expired(created_at: datetime) -> bool:
    """Whether an interaction of this time must not be seen any more."""
    return created_at <= cutoff()


def seconds_left(created_at: datetime) -> float:
    """How long an interaction of this time can still be read."""
    return (created_at - cutoff()).total_seconds()


def violation(created_at: datetime) -> str | None:
    """Why an interaction of this time cannot be saved, or None if it can."""
    if not has_expired(created_at):
        return None
    return f"must be less than {settings.RETENTION_TOTAL_DAYS} days ago; older ones are deleted."


def days_before(moment: datetime, days: int) -> datetime:
    """The moment so many days of 24 hours earlier, in UTC, or the earliest one that there is."""
    try:
        # In UTC: elsewhere a day may have 23 or 25 hours, and Python would count it as one.
        return moment.astimezone(UTC) - timedelta(days=days)
    except OverflowError:  # more days than there have been
        return datetime.min.replace(tzinfo=UTC)
