"""Reading segments of format 1, whose rows are sorted by time and id, whoever they are of.

Earlier versions have written them; they are rewritten as they are, and go when they expire.
"""

from bisect import bisect_left
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from storage.archive import segments
from storage.archive.contents import Contents
from storage.archive.pseudonyms import Sought
from storage.archive.segments import Key
from storage.models import ChatInteraction
from storage.records.cursors import Position


def rows(contents: Contents, last: Position | None) -> Iterator[ChatInteraction]:
    """All rows behind a position, oldest first."""
    manifest = contents.manifest
    start = 0 if last is None else manifest.frame_of(last) or 0
    for frame, content in contents.frames(start):
        for row in segments.rows_of(manifest, frame, content):
            if last is None or row.position > last:
                yield row


def newest(
    contents: Contents, before: Position | None, after: datetime | None, sought: Sought | None
) -> Iterator[ChatInteraction]:
    """Rows before a position, newest first; of everybody, if users are sought who may have some."""
    manifest = contents.manifest
    if sought is not None and not manifest.holders(sought):
        return
    firsts: Any = [frame.first for frame in manifest.frames]
    end = len(firsts) if before is None else bisect_left(firsts, before)
    for frame in reversed(manifest.frames[:end]):
        content = contents.read(frame.offset, frame.length)
        for row in reversed(segments.rows_of(manifest, frame, content)):
            if after is not None and row.created_at < after:
                return
            if before is None or row.position < before:
                yield row


def find(contents: Contents, wanted: set[Position]) -> Iterator[ChatInteraction]:
    """The rows at these positions."""
    manifest = contents.manifest
    ids = {interaction_id for _, interaction_id in wanted}
    numbers = {manifest.frame_of(position) for position in wanted}
    for number in sorted(number for number in numbers if number is not None):
        frame = manifest.frames[number]
        content = contents.read(frame.offset, frame.length)
        for line in segments.lines_of(manifest, frame, content):
            if segments.key_of(manifest, frame, line).interaction_id in ids:
                row = segments.row_of(manifest, frame, line)
                if row.position in wanted:
                    yield row


def keys(contents: Contents, sought: Sought) -> Iterator[Key]:
    """Ids and users of all rows, if some may be of users who are sought."""
    manifest = contents.manifest
    if not manifest.holders(sought):
        return
    for frame, content in contents.frames():
        for line in segments.lines_of(manifest, frame, content):
            yield segments.key_of(manifest, frame, line)
