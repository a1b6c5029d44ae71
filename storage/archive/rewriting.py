"""Writing a segment once more, without some of its rows, from one reading of it.

A frame of which all rows stay is copied as it is, once its checksum is right. The format stays.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import IO, NamedTuple

import msgspec

from storage.archive import names, pseudonyms, segments
from storage.archive.contents import Contents
from storage.archive.frames import FrameWriter
from storage.archive.manifests import Frame, Manifest
from storage.archive.pseudonyms import Sought
from storage.models import ChatInteraction

ROWS_AT_ONCE = 500
"""Rows that are judged at once, about: with one question to the database."""

USERS_MAX = 10_000
"""The most users that a manifest of format 1 lists. With more it lists none."""

Judge = Callable[[Sequence[ChatInteraction]], Iterable[ChatInteraction]]
"""Returns those of some rows that stay."""


class Rewriting(NamedTuple):
    """How many rows of a segment stay and how many go."""

    kept: int
    dropped: int


@dataclass(frozen=True)
class _Part:
    """A frame and its bytes, and its rows and their lines, if these are to be judged."""

    start: int
    """The number of its first row."""
    frame: Frame
    content: bytes
    lines: Sequence[bytes] = ()
    rows: Sequence[ChatInteraction] = ()

    def kept(self, stay: Collection[str]) -> list[int]:
        """The indexes of the rows that stay."""
        if not self.rows:
            return list(range(self.frame.count))
        return [index for index, row in enumerate(self.rows) if row.interaction_id in stay]


@dataclass
class _Stayed:
    """What the manifest of format 1 says of the rows that stayed."""

    users: Counter[str] = field(default_factory=Counter)
    newest: datetime | None = None

    def add(self, rows: Iterable[ChatInteraction]) -> None:
        for row in rows:
            self.users[row.user_id] += 1
            self.newest = row.created_at


def rewritten(
    contents: Contents, judge: Judge, file: IO[bytes], sought: Sought | None
) -> Manifest | None:
    """Write the rows that stay to a file; returns their manifest, None if there are none.

    With `sought`, in format 2, only frames that may have rows of these users are judged, and the
    others stay. Raises what `judge` raises, DamagedArchive, and Rewritten.
    """
    writer = FrameWriter(file, level=segments.LEVEL)
    kept: list[int] = []
    frames: list[Frame] = []
    stayed = _Stayed()
    for parts in _batches(_parts(contents, sought)):
        stay = {row.interaction_id for row in judge([row for part in parts for row in part.rows])}
        for part in parts:
            indexes = part.kept(stay)
            kept += [part.start + index for index in indexes]
            if indexes:
                frames.append(_write(writer, part, indexes))
            stayed.add(part.rows[index] for index in indexes if part.rows)
    if not kept:
        return None
    if contents.manifest.is_by_time:
        return _by_time(contents.manifest, frames, stayed, writer)
    return _by_user(contents.manifest, frames, kept, writer)


def _parts(contents: Contents, sought: Sought | None) -> Iterator[_Part]:
    manifest = contents.manifest
    judged: Collection[int] = range(len(manifest.frames))
    if sought is not None and not manifest.is_by_time:
        judged = {
            manifest.frame_with(number)
            for pseudonym in manifest.holders(sought).values()
            for number in manifest.rows_of(pseudonym)
        }
    for index, (frame, content) in enumerate(contents.frames()):
        start = manifest.starts[index]
        if index in judged:
            lines = segments.lines_of(manifest, frame, content)
            rows = [segments.row_of(manifest, frame, line) for line in lines]
            yield _Part(start, frame, content, lines, rows)
        else:
            segments.check(manifest, frame, content)
            yield _Part(start, frame, content)


def _batches(parts: Iterable[_Part]) -> Iterator[list[_Part]]:
    batch: list[_Part] = []
    for part in parts:
        batch.append(part)
        if sum(len(each.rows) for each in batch) >= ROWS_AT_ONCE or not part.rows:
            yield batch
            batch = []
    if batch:
        yield batch


def _write(writer: FrameWriter, part: _Part, indexes: Sequence[int]) -> Frame:
    frame, first = part.frame, part.frame.first
    if len(indexes) == frame.count:
        written = writer.append(part.content, frame.count, frame.sha256)
    else:
        for index in indexes:
            writer.add(part.lines[index] + b"\n")
        written = writer.end_frame()
        first = first and part.rows[indexes[0]].position
    return segments.framed(written, first)


def _by_user(
    manifest: Manifest, frames: Sequence[Frame], kept: Sequence[int], writer: FrameWriter
) -> Manifest:
    """Whose the rows are is told by their place, also if the key of the pseudonyms is not known."""
    every = [pseudonym for pseudonym, count in (manifest.users or {}).items() for _ in range(count)]
    users = Counter(every[number] for number in kept)
    times = [(manifest.times or ())[number] for number in kept]
    return segments.manifest_of(
        manifest.segment, frames, dict(users), times, writer, manifest.key_id
    )


def _by_time(
    manifest: Manifest, frames: Sequence[Frame], stayed: _Stayed, writer: FrameWriter
) -> Manifest:
    first = frames[0].first
    assert first is not None
    assert stayed.newest is not None
    is_long = len(stayed.users) > USERS_MAX
    return msgspec.structs.replace(
        manifest,
        data=names.new_data(manifest.segment),
        sha256=writer.whole.hexdigest(),
        bytes=writer.offset,
        count=sum(frame.count for frame in frames),
        oldest=first[0],
        newest=stayed.newest,
        frames=tuple(frames),
        users=None if is_long else pseudonyms.counts(stayed.users),
        key_id=pseudonyms.key_id(),
    )
