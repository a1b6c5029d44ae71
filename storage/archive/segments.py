"""The rows of a segment as bytes: lines of JSON in the frames of `storage.archive.frames`."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import IO, TypeVar

import msgspec

from storage.archive import names, pseudonyms
from storage.archive.frames import FrameWriter, WrittenFrame
from storage.archive.manifests import USERS_MAX, Frame, Manifest
from storage.compat import zstd
from storage.exceptions import DamagedArchive
from storage.models import ChatInteraction
from storage.records.cursors import Position
from storage.records.json import format_time, from_json, to_json

LEVEL = 6
"""Of compression. Level 9 saves another 2 % of text at half the speed."""


class _Key(msgspec.Struct):
    """The one field of a line that is decoded to find a row. The others are skipped."""

    interaction_id: str


T = TypeVar("T")

_KEYS = msgspec.json.Decoder(_Key)


class Writer:
    """Writes rows to a file and collects what the manifest says about them."""

    def __init__(self, segment: str, data: str, file: IO[bytes]) -> None:
        self._segment = segment
        self._data = data
        self._day = names.day_of(segment)
        self._writer = FrameWriter(file, level=LEVEL)
        self._frames: list[Frame] = []
        self._users: Counter[str] | None = Counter()
        self._first: Position | None = None
        """Of the frame that is being filled."""
        self._last: Position | None = None

    def write(self, rows: Iterable[ChatInteraction]) -> Manifest | None:
        """Write all rows. Returns their manifest, or None if there are none.

        Raises ValueError if a row is of another day than the segment, or out of order.
        """
        for row in rows:
            self._add(row)
        if self._writer.has_lines:
            self._end(self._writer.end_frame())
        return self._manifest() if self._frames else None

    def _add(self, row: ChatInteraction) -> None:
        position = row.position
        if format_time(row.created_at)[:10] != self._day.isoformat():
            raise ValueError(f"A row was not created on {self._day}, the day of its segment.")
        if self._last is not None and position <= self._last:
            raise ValueError("Rows of a segment must be sorted by time and id, without repeats.")
        if frame := self._writer.add(to_json(row) + b"\n"):
            self._end(frame)
        self._first = self._first or position
        self._last = position
        self._count(row.user_id)

    def _count(self, user_id: str) -> None:
        if self._users is not None:
            self._users[user_id] += 1
            if len(self._users) > USERS_MAX:
                self._users = None

    def _end(self, frame: WrittenFrame) -> None:
        assert self._first is not None  # a frame that was written has a row
        first = self._first
        self._frames.append(Frame(frame.offset, frame.length, frame.count, frame.sha256, first))
        self._first = None

    def _manifest(self) -> Manifest:
        assert self._last is not None
        users = self._users
        return Manifest(
            segment=self._segment,
            data=self._data,
            sha256=self._writer.whole.hexdigest(),
            bytes=self._writer.offset,
            count=sum(frame.count for frame in self._frames),
            oldest=self._frames[0].first[0],
            newest=self._last[0],
            frames=tuple(self._frames),
            users=None if users is None else pseudonyms.counts(users),
            key_id=pseudonyms.key_id(),
        )


def rows_of(manifest: Manifest, frame: Frame, content: bytes) -> list[ChatInteraction]:
    """The rows of a frame whose bytes are `content`, in order. Raises DamagedArchive."""
    rows = [_decoded(from_json, manifest, frame, line) for line in _lines(manifest, frame, content)]
    if rows[0].position != frame.first:
        raise _damage(manifest, frame, "it does not begin with its first row")
    return rows


def wanted_rows(
    manifest: Manifest, frame: Frame, content: bytes, wanted: set[Position]
) -> Iterator[ChatInteraction]:
    """The rows of a frame at the wanted positions. Raises as `rows_of` does."""
    ids = {interaction_id for _, interaction_id in wanted}
    for line in _lines(manifest, frame, content):
        if _decoded(_KEYS.decode, manifest, frame, line).interaction_id in ids:
            row = _decoded(from_json, manifest, frame, line)
            if row.position in wanted:
                yield row


def ids_of(name: str, content: bytes) -> list[str]:
    """The ids of the rows in a data file without a manifest. Raises DamagedArchive."""
    try:
        lines = zstd.decompress(content).splitlines()
        return [_KEYS.decode(line).interaction_id for line in lines]
    except (zstd.ZstdError, ValueError):
        raise DamagedArchive(name, "it has no manifest, and cannot be read without") from None


def _lines(manifest: Manifest, frame: Frame, content: bytes) -> list[bytes]:
    if len(content) != frame.length or hashlib.sha256(content).hexdigest() != frame.sha256:
        raise _damage(manifest, frame, "its checksum is wrong")
    try:
        lines = zstd.decompress(content).split(b"\n")
    except zstd.ZstdError:
        raise _damage(manifest, frame, "it cannot be decompressed") from None
    if lines.pop() or len(lines) != frame.count:
        raise _damage(manifest, frame, "it does not have as many rows as it should")
    return lines


def _decoded(decode: Callable[[bytes], T], manifest: Manifest, frame: Frame, line: bytes) -> T:
    try:
        return decode(line)
    except ValueError:
        raise _damage(manifest, frame, "it has a line that is no row") from None


def _damage(manifest: Manifest, frame: Frame, problem: str) -> DamagedArchive:
    place = f"the part of {frame.length} bytes at {frame.offset}"
    return DamagedArchive(manifest.data, f"{place}: {problem}")
