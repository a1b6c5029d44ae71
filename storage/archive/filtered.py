"""Searches through the archive: rows that pass filters, newest first, in a bounded step."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime

from storage import expiry
from storage.archive import lists
from storage.archive.archive import Archive
from storage.models import ChatInteraction
from storage.records.cursors import Position
from storage.records.json import Record, archived_record, to_record
from storage.records.pages import Slice, TextsOf
from storage.records.searches import Filters
from storage.records.stubs import Stub

DAYS_KNOWN_SECONDS = 60.0
"""How long a process relies on which day was the newest one with cold interactions."""

LookAt = Callable[[Sequence[str], TextsOf], Mapping[str, ChatInteraction | Stub]]
"""`Database.look_at`."""


def may_reach(archive: Archive, wanted: Slice) -> bool:
    """Whether the archive may have rows of a slice. It is not asked for most slices of hot ones.

    Maintenance archives nothing newer than `expiry.hot_since`. What is newer and cold was archived
    when fewer days were hot, so that it may take a minute until this process knows.
    """
    if wanted.created_after <= expiry.hot_since():
        return True
    newest = _newest_day(archive)
    return newest is not None and wanted.created_after.date() <= newest


def newest(archive: Archive) -> Position:
    """A position behind which all rows of the archive are, as far as `may_reach` tells."""
    until, day = expiry.hot_since(), _newest_day(archive)
    if day is not None:
        until = max(until, datetime.combine(day, datetime.max.time(), UTC))
    return min(until, expiry.latest()) + expiry.MICROSECOND, ""


def search(
    archive: Archive,
    look_at: LookAt,
    wanted: Slice,
    filters: Filters,
    at_most: int,
    deadline: float,
) -> tuple[list[Record], Position | None]:
    """What `Database.search` returns, of the archive.

    A row that has become hot is among them: whoever has read the hot rows before may have missed
    it. It has no tier.
    """
    found: list[Record] = []
    examined, text = 0, wanted.max_text
    rows = lists.rows(archive, wanted)
    while batch := lists.next_of(rows, max(wanted.limit - len(found), lists.AT_ONCE)):
        for position, record in _current(look_at, batch, wanted, filters):
            found.append(record)
            text -= len(record["message"]) + len(record["response"])
            if len(found) == wanted.limit or text <= 0:
                return found, position
        examined += len(batch)
        if examined >= at_most or time.monotonic() > deadline:
            return found, batch[-1][0]
    return found, None


def _current(
    look_at: LookAt,
    batch: Sequence[lists.Found[ChatInteraction | None]],
    wanted: Slice,
    filters: Filters,
) -> Iterator[tuple[Position, Record]]:
    """The rows of a batch that pass, as the database says that they are now."""
    passing = [
        (position, row, segment)
        for position, row, segment in batch
        if row is not None
        and wanted.user_id in (None, row.user_id)
        and filters.pass_record(to_record(row))
    ]
    ids = [row.interaction_id for _, row, _ in passing]
    known = look_at(ids, filters.texts_of(wanted)) if ids else {}
    for position, row, segment in passing:
        current = known.get(row.interaction_id)
        if isinstance(current, Stub):
            if current.segment == segment:
                yield position, archived_record(row)
        elif current is not None and current.position == position:
            record = to_record(current)
            if wanted.user_id in (None, current.user_id) and filters.pass_record(record):
                yield position, record


def _newest_day(archive: Archive) -> date | None:
    """The newest day with segments, as it was at most DAYS_KNOWN_SECONDS ago."""
    known, until = archive.newest_day_known
    if until < time.monotonic():
        known = max(archive.days(), default=None)
        archive.newest_day_known = known, time.monotonic() + DAYS_KNOWN_SECONDS
    return known
