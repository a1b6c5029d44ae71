"""Pages of archived interactions, newest first. Only the days and frames asked for are read."""

from bisect import insort
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time
from itertools import islice
from typing import TypeVar

from storage import expiry
from storage.archive.archive import Archive
from storage.archive.heads import Listed
from storage.archive.pseudonyms import Sought
from storage.models import ChatInteraction
from storage.records.cursors import Position
from storage.records.pages import PAGE_TEXT, Slice, ends
from storage.records.stubs import Stub

EXAMINED_AT_MOST = 20_000
"""Rows read for one page. A page that needs more, for the rows of a user in segments of earlier
versions, ends early, with a cursor that goes on.
"""

AT_ONCE = 25
"""Rows whose stubs are looked up at once, at least."""

Stubs = Callable[[Sequence[str]], Mapping[str, Stub]]
"""Looks stubs up by the ids of interactions."""

Row = TypeVar("Row", bound=ChatInteraction | None)

Found = tuple[Position, Row, str]
"""A position, a row and its segment."""


def newest(
    archive: Archive, stubs: Stubs, wanted: Slice
) -> tuple[list[ChatInteraction], Position | None]:
    """The rows of a page (`Slice.cut`), and the position after which to go on.

    The position is None if there are no more rows.
    """
    found: list[ChatInteraction] = []
    text = examined = 0
    found_rows = ((at, row, segment) for at, row, segment in rows(archive, wanted) if row)
    # One row more than the page has tells whether another page follows.
    while batch := next_of(found_rows, max(wanted.limit + 1 - len(found), AT_ONCE)):
        examined += len(batch)
        for row in _cold(stubs, batch, wanted.user_id):
            characters = len(row.message) + len(row.response)
            is_full = found and ends(wanted.max_text - text, characters)
            if len(found) == wanted.limit or is_full:
                return found, found[-1].position
            found.append(row)
            text += characters
        if examined >= EXAMINED_AT_MOST:
            return found, batch[-1][0]
    return found, None


def next_of(rows: Iterator[Found[Row]], at_most: int) -> list[Found[Row]]:
    """The next rows: fewer than `at_most` if their texts take much memory, none at the end."""
    batch: list[Found[Row]] = []
    characters = 0
    for found in islice(rows, at_most):
        batch.append(found)
        if found[1] is not None:
            characters += len(found[1].message) + len(found[1].response)
        if characters >= PAGE_TEXT:
            break
    return batch


def merged(
    newest: Mapping[str, datetime], read: Callable[[str], Iterator[Found[Row]]]
) -> Iterator[Found[Row]]:
    """What `read` returns for some segments, newest first, as each of them does.

    `newest` says when the newest row of each was created, at the latest. A segment is not read
    before it is its turn.
    """
    waiting = sorted(newest, key=lambda segment: newest[segment])
    begun: list[tuple[Found[Row], Iterator[Found[Row]]]] = []
    while waiting or begun:
        if waiting and (not begun or newest[waiting[-1]] >= begun[-1][0][0][0]):
            rows = read(waiting.pop())
        else:
            found, rows = begun.pop()
            yield found
        if (following := next(rows, None)) is not None:
            # The segment decides between marks of equal positions.
            insort(begun, (following, rows), key=lambda pair: (pair[0][0], pair[0][2]))


def _cold(
    stubs: Stubs, batch: Sequence[Found[ChatInteraction]], user_id: str | None
) -> list[ChatInteraction]:
    """The rows of a user (None: of all users) that are still cold.

    A row whose stub does not name its segment has become hot again, or was deleted.
    """
    rows = [(row, segment) for _, row, segment in batch if user_id in (None, row.user_id)]
    known = stubs([row.interaction_id for row, _ in rows]) if rows else {}
    return [
        row
        for row, segment in rows
        if (stub := known.get(row.interaction_id)) and stub.segment == segment
    ]


def rows(archive: Archive, wanted: Slice) -> Iterator[Found[ChatInteraction | None]]:
    """The rows that may be in a slice, newest first, and after each day its beginning, with None.

    So whoever has little time learns how far it has come where there is nothing.
    """
    before = _before(wanted)
    sought = None if wanted.user_id is None else Sought([wanted.user_id])

    def read(segment: str) -> Iterator[Found[ChatInteraction | None]]:
        after, file = wanted.created_after, data.get(segment)
        for found in archive.announced(segment, before, after, sought, file):
            if isinstance(found, ChatInteraction):
                yield found.position, found, segment
            else:
                yield (found + expiry.MICROSECOND, ""), None, segment  # newer than all of that time

    for day in _days(archive, wanted):
        listed = archive.listed(day)[0]
        data = {each.segment: each.data for each in listed}
        for position, row, segment in merged(_segments(archive, listed, wanted, sought), read):
            if row is not None:
                yield position, row, segment
        yield _beginning(day), None, ""


def _before(wanted: Slice) -> Position | None:
    """The position before which all rows of a slice are; None if there is no bound."""
    bounds = [wanted.before, wanted.created_before and (wanted.created_before, "")]
    return min((bound for bound in bounds if bound), default=None)


def _days(archive: Archive, wanted: Slice) -> list[date]:
    """The archived days of a slice, newest first."""
    before, first = _before(wanted), wanted.created_after.date()
    days = [day for day in reversed(archive.days()) if day >= first]
    return [day for day in days if before is None or _beginning(day) < before]


def _beginning(day: date) -> Position:
    """The position before all of a day."""
    return datetime.combine(day, time.min, UTC), ""


def _segments(
    archive: Archive, listed: Iterable[Listed], wanted: Slice, sought: Sought | None
) -> dict[str, datetime]:
    """Those of some segments that may have rows of a slice, with the times of their newest."""
    before = _before(wanted)
    return {
        segment: newest
        for segment, oldest, newest in times(archive, listed, sought)
        if newest >= wanted.created_after and (before is None or oldest <= before[0])
    }


def times(
    archive: Archive, found: Iterable[Listed], sought: Sought | None
) -> Iterator[tuple[str, datetime, datetime]]:
    """Those of some segments that may have rows of users (None: of anyone), from when to when."""
    for each in found:
        told = each.head or archive.manifest(each.segment)
        if told is None:
            continue
        if sought is None or told.holders(sought):
            yield each.segment, told.oldest, told.newest
