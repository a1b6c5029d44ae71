"""What tools have sent, hour by hour, as numbers in the SQL database.

Any number of processes add to the same rows. Nothing here is about a user or has a text.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connections
from django.db.models import Max, QuerySet, Sum

from storage.accounts.transactions import ALIAS, in_transaction, one_at_a_time, run_for_each
from storage.models import IntakeCount
from storage.sql.errors import translated

KEPT_FOR = timedelta(days=31)

TOLD = "told"
"""The outcome of a row that is no outcome: how many of those left out a line of the log has told
of, and when.
"""

_ADD = f"""
    INSERT INTO {IntakeCount._meta.db_table} AS stored (hour, source, outcome, count, last_at)
    VALUES (%(hour)s, %(source)s, %(outcome)s, %(count)s, %(last_at)s)
    ON CONFLICT (hour, source, outcome) DO UPDATE SET
    count = stored.count + excluded.count,
    last_at = CASE WHEN excluded.last_at > stored.last_at
        THEN excluded.last_at ELSE stored.last_at END
"""  # noqa: S608  (the name of our table)


@dataclass(frozen=True)
class Count:
    """So many of `source` had this outcome in an hour (its first moment, UTC)."""

    hour: datetime
    source: str
    outcome: str
    count: int
    last_at: datetime


@dataclass(frozen=True)
class Total:
    """The sum of some hours, and when it was last added to (UTC)."""

    source: str
    outcome: str
    count: int
    last_at: datetime


def hour_of(time: datetime) -> datetime:
    """The first moment of the hour."""
    return time.replace(minute=0, second=0, microsecond=0)


def add(counts: Iterable[Count]) -> None:
    """Add to what is stored, all or nothing. Raises StorageError."""
    time = connections[ALIAS].ops.adapt_datetimefield_value
    rows: list[dict[str, Any]] = [
        vars(count) | {"hour": time(count.hour), "last_at": time(count.last_at)}
        for count in sorted(counts, key=lambda count: (count.hour, count.source, count.outcome))
    ]
    with translated:
        in_transaction(lambda: run_for_each(_ADD, rows))


def totals(since: datetime) -> list[Total]:
    """What came from `since`, the first moment of an hour, until now. Raises StorageError."""
    rows = IntakeCount.objects.using(ALIAS).filter(hour__gte=since).exclude(outcome=TOLD)
    with translated:
        found = rows.values_list("source", "outcome").annotate(Sum("count"), Max("last_at"))
        return [
            Total(source, outcome, count, last_at.astimezone(UTC))
            for source, outcome, count, last_at in found.order_by("source", "outcome")
        ]


def last_at() -> datetime | None:
    """When anything came at all, if that is still known. Raises StorageError."""
    with translated:
        newest = IntakeCount.objects.using(ALIAS).order_by("-hour").values("hour")[:1]
        of_hour = IntakeCount.objects.using(ALIAS).filter(hour__in=newest).exclude(outcome=TOLD)
        found: datetime | None = of_hour.aggregate(last=Max("last_at"))["last"]
    return None if found is None else found.astimezone(UTC)


def remove(until: datetime, limit: int) -> int:
    """Delete up to `limit` counts of hours at or before `until`; returns their number."""
    with translated:
        keys = list(_old(until).order_by("hour").values_list("pk", flat=True)[:limit])
        return _old(until).filter(pk__in=keys).delete()[0] if keys else 0


def count_old(until: datetime) -> int:
    """The number of counts of hours at or before `until`."""
    with translated:
        return _old(until).count()


def _old(until: datetime) -> "QuerySet[IntakeCount]":
    return IntakeCount.objects.using(ALIAS).filter(hour__lte=until)


@dataclass(frozen=True)
class Telling:
    """Whether to log now what was left out in an hour, and what the hour has had until now."""

    is_due: bool
    is_over: bool
    """Nothing is left to be told: a line has told of all, this one or one of another process."""
    totals: Mapping[str, int]


def tell(
    source: str, hour: datetime, outcomes: Collection[str], now: datetime, pause: timedelta
) -> Telling:
    """Claim the next line of the log about a source: one in `pause`, for all processes together.

    Due if these outcomes have come more often than a line has told. Raises StorageError.
    """
    with translated:
        return one_at_a_time("intake", lambda: _told(source, hour, outcomes, now, pause))


def _told(
    source: str, hour: datetime, outcomes: Collection[str], now: datetime, pause: timedelta
) -> Telling:
    rows = IntakeCount.objects.using(ALIAS).filter(source=source)
    told = rows.filter(hour__gte=hour - timedelta(hours=1), outcome=TOLD)
    before = {row.hour: row for row in told}
    totals = dict(
        rows.filter(hour=hour).exclude(outcome=TOLD).values_list("outcome", "count").order_by("pk")
    )
    count = sum(totals.get(outcome, 0) for outcome in outcomes)
    is_over = count == (before[hour].count if hour in before else 0)
    if is_over or any(row.last_at > now - pause for row in before.values()):
        return Telling(is_due=False, is_over=is_over, totals=totals)
    rows.update_or_create(
        hour=hour, source=source, outcome=TOLD, defaults={"count": count, "last_at": now}
    )
    return Telling(is_due=True, is_over=True, totals=totals)
