"""Pages of the audit log, newest first, at a cost that does not grow with the log."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta

from django.db.models import Q, QuerySet

from storage.accounts.transactions import ALIAS
from storage.archive import pseudonyms
from storage.models import AuditEntry
from storage.sql.errors import translated

SPAN = 20_000
"""How many entries one page looks at, where no index has all that is asked for."""

LARGEST_SKEW = 1000
"""How many entries the clock may put on the wrong side of midnight."""


@dataclass(frozen=True)
class AuditQuery:
    """What is asked for, in combination. Empty: anything."""

    staff: str = ""
    action: str = ""
    user_id: str = ""
    pseudonym: str = ""
    """Of a user, as entries have it."""
    day: date | None = None
    """In UTC."""
    before: int | None = None
    """The number of an entry; only older ones are asked for."""

    @property
    def conditions(self) -> list[Q]:
        """One for each field but the day and `before`."""
        found = []
        if self.staff:
            found.append(Q(staff=self.staff))
        if self.action:
            found.append(Q(action=self.action))
        if self.user_id:  # whichever known SECRET_KEY made the pseudonym
            found.append(Q(user_pseudonym__in=pseudonyms.all_pseudonyms(self.user_id)))
        if self.pseudonym:
            found.append(Q(user_pseudonym=self.pseudonym))
        return found


@dataclass(frozen=True)
class AuditPage:
    """Some entries, and where the next page begins."""

    entries: list[AuditEntry]
    next_before: int | None = None
    """`before` of the next page; None if there is nothing older."""
    searched_until: datetime | None = None
    """How far was searched (UTC), if the page ends before it is full or all is searched."""


def page(query: AuditQuery, limit: int) -> AuditPage:
    """Returns up to `limit` entries. Raises StorageError."""
    with translated:
        rows = _entries()
        for condition in query.conditions:
            rows = rows.filter(condition)
        bounds = _bounds(query)
        if bounds is None:
            return AuditPage([])
        low, high = bounds
        floor = max(low, high - SPAN) if len(query.conditions) > 1 else low
        if query.day is not None:
            rows = rows.filter(_of_day(query.day))
        found = list(rows.filter(pk__gte=floor, pk__lt=high).order_by("-pk")[: limit + 1])
        if len(found) > limit:
            return AuditPage(found[:limit], found[limit - 1].pk)
        if floor > low:
            return AuditPage(found, floor, _time_of(floor))
        return AuditPage(found)


def all_entries(query: AuditQuery, page_size: int = 1000) -> Iterator[AuditEntry]:
    """All that is asked for, newest first, read in pages. Raises StorageError."""
    while True:
        found = page(query, page_size)
        yield from found.entries
        if found.next_before is None:
            return
        query = replace(query, before=found.next_before)


def _entries() -> "QuerySet[AuditEntry]":
    return AuditEntry.objects.using(ALIAS)


def _bounds(query: AuditQuery) -> tuple[int, int] | None:
    """The numbers between which there can be entries: the first, and one after the last."""
    rows = _entries() if query.day is None else _entries().filter(_of_day(query.day))
    order = "pk" if query.day is None else "at"
    first = rows.order_by(order).values_list("pk", flat=True).first()
    last = rows.order_by(f"-{order}").values_list("pk", flat=True).first()
    if first is None or last is None:
        return None
    skew = 0 if query.day is None else LARGEST_SKEW
    low, high = first - skew, last + 1 + skew
    return low, high if query.before is None else min(high, query.before)


def _of_day(day: date) -> Q:
    begin = datetime(day.year, day.month, day.day, tzinfo=UTC)
    return Q(at__gte=begin, at__lt=begin + timedelta(days=1))


def _time_of(number: int) -> datetime | None:
    row = _entries().filter(pk__gte=number).order_by("pk").values_list("at", flat=True).first()
    return row.astimezone(UTC) if row else None
