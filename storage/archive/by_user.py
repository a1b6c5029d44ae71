"""Reading segments of format 2, whose rows are sorted by pseudonym, and then by time and id.

The manifest has the time of each row, so rows of all users can be read by time as well: each costs
its frame.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby

from storage.archive import segments
from storage.archive.contents import Contents
from storage.archive.heads import microseconds, time_of
from storage.archive.manifests import Frame, Manifest
from storage.archive.names import day_of
from storage.archive.pseudonyms import Sought
from storage.archive.segments import Key
from storage.models import ChatInteraction
from storage.records.cursors import Position

DAY = 86_400_000_000
"""Microseconds."""

MICROSECOND = timedelta(microseconds=1)

READ_AHEAD = 64 * 1024
"""Bytes of a user's frames that are read at once."""


def rows(contents: Contents, last: Position | None) -> Iterator[ChatInteraction]:
    """All rows behind a position, oldest first. All of them are in memory, as when they came."""
    manifest = contents.manifest
    found = [
        row
        for frame, content in contents.frames()
        for row in segments.rows_of(manifest, frame, content)
        if last is None or row.position > last
    ]
    yield from sorted(found, key=lambda row: row.position)


def newest(
    contents: Contents, before: Position | None, after: datetime | None, sought: Sought | None
) -> Iterator[ChatInteraction | datetime]:
    """Rows before a position, newest first; if users are sought, only frames with theirs.

    A time announces the rows of that time, before their frames are read.
    """
    times = contents.manifest.times or ()
    midnight = time_of(day_of(contents.manifest.segment), 0)
    numbers = () if sought is None else _numbers(contents.manifest, sought)
    in_order = contents.manifest.by_time
    if sought is not None:
        in_order = sorted(numbers, key=times.__getitem__, reverse=True)
    rows_read = _Rows(contents, numbers)
    last = DAY if before is None else (before[0] - midnight) // MICROSECOND
    first = 0 if after is None else (after - midnight) // MICROSECOND
    wanted = _between(times, in_order, first, last)
    for time, alike in groupby(wanted, key=times.__getitem__):
        yield midnight + time * MICROSECOND
        rows_then = sorted(map(rows_read.row, alike), key=lambda row: row.position, reverse=True)
        yield from (row for row in rows_then if before is None or row.position < before)


def find(contents: Contents, wanted: set[Position]) -> Iterator[ChatInteraction]:
    """The rows at these positions."""
    manifest = contents.manifest
    day = day_of(manifest.segment)
    times = {microseconds(time) for time, _ in wanted if time.astimezone(UTC).date() == day}
    rows_read = _Rows(contents)
    for number, time in enumerate(manifest.times or ()):
        if time in times:
            row = rows_read.row(number)
            if row.position in wanted:
                yield row


def keys(contents: Contents, sought: Sought) -> Iterator[Key]:
    """Ids and users of the rows that may be of users who are sought."""
    manifest = contents.manifest
    numbers = _numbers(manifest, sought)
    rows_read = _Rows(contents, numbers)
    lines = [rows_read.line(number) for number in reversed(numbers)]
    for frame, line in reversed(lines):
        yield segments.key_of(manifest, frame, line)


class _Rows:
    """The rows of a segment by their number in the file. Each frame is read once.

    Of adjacent numbers that are wanted, frames are read together, with those before.
    """

    def __init__(self, contents: Contents, wanted: Sequence[int] = ()) -> None:
        self._contents = contents
        self._manifest = contents.manifest
        self._wanted = {self._manifest.frame_with(number) for number in wanted}
        self._lines: dict[int, list[bytes]] = {}

    def row(self, number: int) -> ChatInteraction:
        """Raises DamagedArchive, and Rewritten."""
        return segments.row_of(self._manifest, *self.line(number))

    def line(self, number: int) -> tuple[Frame, bytes]:
        """The line of a row, and its frame."""
        index = self._manifest.frame_with(number)
        if index not in self._lines:
            self._lines |= self._contents.lines(self._first_with(index), index)
        lines = self._lines[index]
        return self._manifest.frames[index], lines[number - self._manifest.starts[index]]

    def _first_with(self, last: int) -> int:
        """The first of the frames that are read together with `last`."""
        frames, first = self._manifest.frames, last
        end = frames[last].offset + frames[last].length
        while first - 1 in self._wanted and end - frames[first - 1].offset <= READ_AHEAD:
            first -= 1
        return first


def _numbers(manifest: Manifest, sought: Sought) -> list[int]:
    """The numbers of the rows of some users, sorted."""
    spans = map(manifest.rows_of, manifest.holders(sought).values())
    return sorted({number for span in spans for number in span})


def _between(times: Sequence[int], in_order: Sequence[int], first: int, last: int) -> Sequence[int]:
    """Those of the rows, newest first, that were created from `first` to `last`."""

    def age(number: int) -> int:
        return -times[number]

    return in_order[bisect_left(in_order, -last, key=age) : bisect_right(in_order, -first, key=age)]
