"""Pages of what is in cold storage: the days asked for, newest first, frame by frame."""

import heapq
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from itertools import islice

from storage.archive.archive import Archive
from storage.cursors import Position
from storage.models import ChatInteraction
from storage.pages import Slice
from storage.stubs import Stub

EXAMINED_AT_MOST = 20_000
"""Rows read for one page. A page that would take more has fewer rows, and a cursor that goes on."""

AT_ONCE = 100
"""Rows whose stubs are looked up at once."""

Stubs = Callable[[Sequence[str]], Mapping[str, Stub]]


def newest(
    archive: Archive, stubs: Stubs, wanted: Slice
) -> tuple[list[ChatInteraction], Position | None]:
    """Rows of a slice, at most `wanted.limit`, and where to go on: None if there are no more."""
    found: list[ChatInteraction] = []
    examined = 0
    rows = _rows(archive, wanted)
    while some := list(islice(rows, AT_ONCE)):
        examined += len(some)
        matching = [(each, segment) for each, segment in some if _matches(each, wanted)]
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


def _matches(interaction: ChatInteraction, wanted: Slice) -> bool:
    if wanted.created_before is not None and interaction.created_at >= wanted.created_before:
        return False
    return interaction.created_at >= wanted.created_after and wanted.user_id in (
        None,
        interaction.user_id,
    )


def _rows(archive: Archive, wanted: Slice) -> Iterator[tuple[ChatInteraction, str]]:
    """Rows with their segments, newest first, from the days of a slice."""
    for day in _days(archive, wanted):
        segments = [
            _rows_of(archive, segment, wanted.before)
            for segment in archive.segments(day)
            if _may_have(archive, segment, wanted)
        ]
        yield from heapq.merge(*segments, key=lambda found: position(found[0]), reverse=True)


def _rows_of(
    archive: Archive, segment: str, before: Position | None
) -> Iterator[tuple[ChatInteraction, str]]:
    for each in archive.newest(segment, before):
        yield each, segment


def _days(archive: Archive, wanted: Slice) -> list[date]:
    """Newest first."""
    first, last = wanted.created_after.date(), date.max
    if wanted.created_before is not None:
        last = wanted.created_before.date()
    if wanted.before is not None:
        last = min(last, wanted.before[0].date())
    return [day for day in reversed(archive.days()) if first <= day <= last]


def _may_have(archive: Archive, segment: str, wanted: Slice) -> bool:
    manifest = archive.manifest(segment)
    if manifest is None or manifest.newest < wanted.created_after:
        return False
    if wanted.created_before is not None and manifest.oldest >= wanted.created_before:
        return False
    return wanted.user_id is None or manifest.may_hold(wanted.user_id)
