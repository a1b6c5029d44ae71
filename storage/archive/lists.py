"""Pages of archived interactions, newest first. Only the days and frames asked for are read."""

import heapq
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, datetime

from storage.archive.archive import Archive
from storage.archive.manifests import Manifest
from storage.batched import batched
from storage.models import ChatInteraction
from storage.records.cursors import Position
from storage.records.pages import Slice
from storage.records.stubs import Stub

EXAMINED_AT_MOST = 20_000
"""Rows read for one page. A page that needs more ends early, with a cursor that goes on."""

AT_ONCE = 100
"""Rows whose stubs are looked up at once."""

Times = tuple[datetime, datetime]
"""When the oldest and the newest row of a segment were created."""

Stubs = Callable[[Sequence[str]], Mapping[str, Stub]]
"""Looks stubs up by the ids of interactions."""

Found = tuple[ChatInteraction, str]
"""A row and its segment."""


def newest(
    archive: Archive, stubs: Stubs, wanted: Slice
) -> tuple[list[ChatInteraction], Position | None]:
    """The rows of a page (`Slice.cut`), and the position after which to go on.

    The position is None if there are no more rows.
    """
    found: list[ChatInteraction] = []
    text = examined = 0
    for batch in batched(_rows(archive, wanted), AT_ONCE):
        examined += len(batch)
        for row in _cold(stubs, batch, wanted.user_id):
            if len(found) == wanted.limit or text >= wanted.max_text:
                return found, found[-1].position
            found.append(row)
            text += len(row.message) + len(row.response)
        if examined >= EXAMINED_AT_MOST:
            return found, batch[-1][0].position
    return found, None


def overlapping(times: Mapping[str, Times]) -> Iterator[list[str]]:
    """Groups of segments whose times overlap, newest first. Those of a group must be merged."""
    group: list[str] = []
    for segment in sorted(times, key=lambda segment: times[segment][1], reverse=True):
        _, newest = times[segment]
        if group and all(newest < times[other][0] for other in group):
            yield group
            group = []
        group.append(segment)
    if group:
        yield group


def _cold(stubs: Stubs, batch: Sequence[Found], user_id: str | None) -> list[ChatInteraction]:
    """The rows of a user (None: of all users) that are still cold.

    A row whose stub does not name its segment has become hot again, or was deleted.
    """
    rows = [(row, segment) for row, segment in batch if user_id in (None, row.user_id)]
    known = stubs([row.interaction_id for row, _ in rows]) if rows else {}
    return [
        row
        for row, segment in rows
        if (stub := known.get(row.interaction_id)) and stub.segment == segment
    ]


def _rows(archive: Archive, wanted: Slice) -> Iterator[Found]:
    """The rows that may be in a slice, newest first."""
    before = _before(wanted)
    for day in _days(archive, wanted):
        for group in overlapping(_times(archive, day, wanted)):
            rows = [_rows_of(archive, segment, before, wanted.created_after) for segment in group]
            yield from heapq.merge(*rows, key=lambda found: found[0].position, reverse=True)


def _rows_of(
    archive: Archive, segment: str, before: Position | None, after: datetime
) -> Iterator[Found]:
    for row in archive.newest(segment, before, after):
        yield row, segment


def _before(wanted: Slice) -> Position | None:
    """The position before which all rows of a slice are; None if there is no bound."""
    bounds = [wanted.before, wanted.created_before and (wanted.created_before, "")]
    return min((bound for bound in bounds if bound), default=None)


def _days(archive: Archive, wanted: Slice) -> list[date]:
    """The archived days of a slice, newest first."""
    before = _before(wanted)
    first, last = wanted.created_after.date(), before[0].date() if before else date.max
    return [day for day in reversed(archive.days()) if first <= day <= last]


def _times(archive: Archive, day: date, wanted: Slice) -> dict[str, Times]:
    """The segments of a day that may have rows of a slice."""
    return {
        manifest.segment: (manifest.oldest, manifest.newest)
        for manifest in archive.manifests(day)
        if _may_have(manifest, wanted)
    }


def _may_have(manifest: Manifest, wanted: Slice) -> bool:
    before = _before(wanted)
    if manifest.newest < wanted.created_after or (before and manifest.oldest > before[0]):
        return False
    return wanted.user_id is None or manifest.may_hold(wanted.user_id)
