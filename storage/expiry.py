"""When an interaction expires: RETENTION_TOTAL_DAYS after it was created.

From that moment no read returns it and its id is free, on every backend, even if it is deleted
only later. DynamoDB's TTL, for instance, may delete it days later:
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/howitworks-ttl.html
"""

from datetime import UTC, datetime, timedelta

from django.conf import settings

MICROSECOND = timedelta(microseconds=1)

BEGINNING = datetime.min.replace(tzinfo=UTC)
"""The earliest time."""

AHEAD = timedelta(days=1)
"""How far ahead of the clock a row may be dated before it counts as dated in the future."""


def cutoff() -> datetime:
    """The retention cutoff: interactions created at this time or earlier have expired."""
    try:
        return datetime.now(UTC) - timedelta(settings.RETENTION_TOTAL_DAYS)
    except OverflowError:
        return BEGINNING


def hot_since() -> datetime:
    """Interactions created at this time or earlier are archived, or will be by the next run."""
    return days_before(datetime.now(UTC), settings.RETENTION_HOT_DAYS)


def lifetime_seconds() -> int:
    """How long an interaction can be read after its creation."""
    return 86_400 * int(settings.RETENTION_TOTAL_DAYS)


def has_expired(created_at: datetime) -> bool:
    """Whether an interaction created at this time has expired."""
    return created_at <= cutoff()


def seconds_left(created_at: datetime) -> float:
    """Seconds until an interaction created at this time expires."""
    return (created_at - cutoff()).total_seconds()


def violation(created_at: datetime) -> str | None:
    """Returns why an interaction created at this time cannot be saved, or None if it can."""
    if created_at > cutoff():
        return None
    return f"must be less than {settings.RETENTION_TOTAL_DAYS} days ago; older ones are deleted."


def latest() -> datetime:
    """What was created later than this is dated in the future, by a clock that was ahead."""
    return datetime.now(UTC) + AHEAD


def ahead_violation(created_at: datetime) -> str | None:
    """Returns why a row of this time cannot be imported: it is dated in the future. Or None."""
    if created_at <= latest():
        return None
    return (
        f"must be at most a day ahead of the clock, which says {datetime.now(UTC):%Y-%m-%dT%H:%MZ}."
    )


def days_before(moment: datetime, days: int) -> datetime:
    """The time so many days of 24 hours earlier, in UTC; the earliest time if it is before that."""
    try:
        # In UTC: elsewhere a day may have 23 or 25 hours, and Python would count it as one.
        in_utc = moment if moment.tzinfo is UTC else moment.astimezone(UTC)
        return in_utc - timedelta(days)
    except OverflowError:
        return BEGINNING
