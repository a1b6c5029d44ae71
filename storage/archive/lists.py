"""Pages of what is in cold storage: the days asked for, newest first, frame by frame."""

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
"""Rows read for one page. A page that would take more has fewer rows, and a cursor that goes on."""

AT_ONCE = 100
"""Rows whose stubs are looked up at once."""

Times = tuple[datetime, datetime]
"""When the oldest and the newest row of a segment were created."""

Stubs = Callable[[Sequence[str]], Mapping[str, Stub]]


def newest(
    archive: Archive, stubs: Stubs, wanted: Slice
) -> tuple[list[ChatInteraction], Position | None]:
    """Rows of a slice, at most `wanted.limit`, and where to go on: None if there are no more."""
    found: list[ChatInteraction] = []
    examined = 0
    for some in batched(_rows(archive, wanted), AT_ONCE):
        examined += len(some)
        matching = [
            (each, segment) for each, segment in some if wanted.user_id in (None, each.user_id)
        ]
        alive = stubs([each.interaction_id for each, _ in matching]) if matching else {}
        for each, segment in matching:
            stub = alive.get(each.interaction_id)
            if stub is None or stub.segment != segment:
                continue  # it has become hot again, or was deleted
            found.append(each)
            if len(found) > wanted.limit:
                return found[:-1], position(found[-2])
        if examined >= EXAMINED_AT_MOST:
            return found, position(some[-1][0])
    return found, None


def position(interaction: ChatInteraction) -> Position:
    """Where an interaction stands in lists."""
    return interaction.created_at, interaction.interaction_id


def overlapping(times: Mapping[str, Times]) -> Iterator[list[str]]:
    """Segments whose times overlap, which have to be read side by side; the newest first."""
    some: list[str] = []
    for segment in sorted(times, key=lambda segment: times[segment][1], reverse=True):
        _, newest = times[segment]
        if some and all(newest < times[each][0] for each in some):
            yield some
            some = []
        some.append(segment)
    if some:
        yield some


def _rows(archive: Archive, wanted: Slice) -> Iterator[tuple[ChatInteraction, str]]:
    """Rows with their segments, newest first, from the days of a slice."""
    before = _before(wanted)
    for day in _days(archive, wanted):
        for some in overlapping(_times(archive, day, wanted)):
            rows = [_rows_of(archive, segment, before, wanted.created_after) for segment in some]
            yield from heapq.merge(*rows, key=lambda found: position(found[0]), reverse=True)


def _before(wanted: Slice) -> Position | None:
    """Where the newest row that may be in a slice ends."""
    ends = [wanted.before, wanted.created_before and (wanted.created_before, "")]
    return min((end for end in ends if end), default=None)


def _times(archive: Archive, day: date, wanted: Slice) -> dict[str, Times]:
    """The segments of a day that may have rows of a slice."""
    return {
        segment: (manifest.oldest, manifest.newest)
        for segment in archive.segments(day)
        if (manifest := archive.manifest(segment)) and _may_have(manifest, wanted)
    }


def _rows_of(
    archive: Archive, segment: str, before: Position | None, after: datetime
) -> Iterator[tuple[ChatInteraction, str]]:
    for each in archive.newest(segment, before, after):
        yield each, segment


def _days(archive: Archive, wanted: Slice) -> list[date]:
    """Newest first."""
    before = _before(wanted)
    first, last = wanted.created_after.date(), before[0].date() if before else date.max
    return [day for day in reversed(archive.days()) if first <= day <= last]


def _may_have(manifest: Manifest, wanted: Slice) -> bool:
    before = _before(wanted)
    if manifest.newest < wanted.created_after or (before and manifest.oldest > before[0]):
        return False
    return wanted.user_id is None or manifest.may_hold(wanted.user_id)
