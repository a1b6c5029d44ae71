"""Rows of a user in segments of the archive, newest first, whether or not they count.

Only segments whose manifest may hold the user are read, each of them once, a frame at a time.
"""

import heapq
from collections import deque
from collections.abc import Iterator, Sequence
from datetime import date
from typing import NamedTuple

from storage.archive.archive import Archive
from storage.archive.lists import Times, overlapping, position
from storage.models import ChatInteraction
from storage.records.cursors import Position


class Candidate(NamedTuple):
    """A row of a segment."""

    row: ChatInteraction
    segment: str


class Candidates:
    """Goes through the archive once, though what it gives may be asked for again."""

    def __init__(self, archive: Archive, user_id: str) -> None:
        self._archive = archive
        self._user_id = user_id
        self._times: dict[str, Times | None] = {}
        self._open: Sequence[str] = ()
        self._rest: Iterator[Candidate] = iter(())
        self._read: deque[Candidate] = deque()

    def segments(self, day: date) -> tuple[str, ...]:
        """The segments of a day that may have rows of the user, as they are now."""
        return tuple(name for name in self._archive.segments(day) if self._may_hold(name))

    def between(
        self, segments: Sequence[str], before: Position | None, end: Position, limit: int
    ) -> list[Candidate]:
        """The newest candidates of segments, at most `limit`, from below `before` down to `end`.

        Equal ones come from different segments. Calls go on from the newest to the oldest.
        """
        if segments != self._open:
            self._open = segments
            self._rest = self._newest_first(segments, before)
            self._read.clear()
        self._fill(before, end, limit)
        return [each for each in self._read if position(each.row) >= end][:limit]

    def drop(self, end: Position) -> None:
        """Forget the candidates down to `end`; they will not be asked for again."""
        while self._read and position(self._read[0].row) >= end:
            self._read.popleft()

    def _fill(self, before: Position | None, end: Position, limit: int) -> None:
        while len(self._read) < limit and (not self._read or position(self._read[-1].row) >= end):
            found = next(self._rest, None)
            if found is None:
                return
            if before is None or position(found.row) < before:
                self._read.append(found)

    def _may_hold(self, segment: str) -> bool:
        # What a manifest says of users and times stays true: rewriting only takes rows away.
        if segment not in self._times:
            manifest = self._archive.manifest(segment)
            if manifest is None:
                return False
            is_held = manifest.may_hold(self._user_id)
            self._times[segment] = (manifest.oldest, manifest.newest) if is_held else None
        return self._times[segment] is not None

    def _newest_first(
        self, segments: Sequence[str], before: Position | None
    ) -> Iterator[Candidate]:
        times = {segment: each for segment in segments if (each := self._times[segment])}
        for some in overlapping(times):
            rows = [self._rows_of(segment, before) for segment in some]
            yield from heapq.merge(*rows, key=lambda each: position(each.row), reverse=True)

    def _rows_of(self, segment: str, before: Position | None) -> Iterator[Candidate]:
        for row in self._archive.newest(segment, before):
            if row.user_id == self._user_id:
                yield Candidate(row, segment)
