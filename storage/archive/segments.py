"""The rows of a segment as bytes: lines of JSON in the frames of `storage.archive.frames`."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC
from typing import IO, TypeVar

import msgspec

from storage.archive import names, pseudonyms
from storage.archive.frames import FrameWriter, WrittenFrame
from storage.archive.heads import microseconds, time_of
from storage.archive.manifests import FORMAT, Frame, Manifest
from storage.compat import zstd
from storage.exceptions import DamagedArchive
from storage.models import ChatInteraction
from storage.records.cursors import Position
from storage.records.json import from_json, to_json

LEVEL = 3
"""Of compression. Level 6 takes three times as long, and saves 3 % of 4,830 real conversations."""

FRAME_BYTES = 16 * 1024
"""Text in one frame, which is what a cold read costs. See decision 0033."""


class Key(msgspec.Struct):
    """The fields of a line that are decoded to find a row. The others are skipped."""

    interaction_id: str
    user_id: str


T = TypeVar("T")

_KEYS = msgspec.json.Decoder(Key)


def write(segment: str, rows: Iterable[ChatInteraction], file: IO[bytes]) -> Manifest | None:
    """Write the rows of a segment to a file. Returns their manifest, or None if there are none.

    Raises ValueError if a row is of another day than the segment, or twice there.
    """
    users: dict[str, int] = {}
    times: list[int] = []
    frames: list[WrittenFrame | None] = []
    writer = FrameWriter(file, level=LEVEL, frame_bytes=FRAME_BYTES)
    in_order = by_user(rows)
    _check(segment, [row for _, row in in_order])
    for pseudonym, row in in_order:
        frames.append(writer.add(to_json(row) + b"\n"))
        users[pseudonym] = users.get(pseudonym, 0) + 1
        times.append(microseconds(row.created_at))
    if not times:
        return None
    frames.append(writer.end_frame())
    written = [framed(frame) for frame in frames if frame is not None]
    return manifest_of(segment, written, users, times, writer)


def by_user(rows: Iterable[ChatInteraction]) -> list[tuple[str, ChatInteraction]]:
    """Rows in the order of a segment, by pseudonym, time and id, each with its pseudonym."""
    made: dict[str, str] = {}
    found = []
    for row in rows:
        if row.user_id not in made:
            made[row.user_id] = pseudonyms.pseudonym(row.user_id)
        found.append((made[row.user_id], row))
    return sorted(found, key=lambda pair: (pair[0], pair[1].position))


def manifest_of(
    segment: str,
    frames: Iterable[Frame],
    users: dict[str, int],
    times: Sequence[int],
    writer: FrameWriter,
    key_id: str | None = None,
) -> Manifest:
    """The manifest of what a writer has written, with a name for the data file."""
    day = names.day_of(segment)
    manifest = Manifest(
        format=FORMAT,
        segment=segment,
        data="",
        sha256=writer.whole.hexdigest(),
        bytes=writer.offset,
        count=len(times),
        oldest=time_of(day, min(times)),
        newest=time_of(day, max(times)),
        frames=tuple(frames),
        users=users,
        key_id=key_id or pseudonyms.key_id(),
        times=tuple(times),
    )
    return msgspec.structs.replace(manifest, data=names.new_data(segment, manifest.head()))


def framed(frame: WrittenFrame, first: Position | None = None) -> Frame:
    """A written frame as the manifest has it; in format 1 with the position of its first row."""
    return Frame(frame.offset, frame.length, frame.count, frame.sha256, first)


def lines_of(manifest: Manifest, frame: Frame, content: bytes) -> list[bytes]:
    """The lines of a frame whose bytes are `content`, in order. Raises DamagedArchive."""
    check(manifest, frame, content)
    try:
        lines = zstd.decompress(content).split(b"\n")
    except zstd.ZstdError:
        raise _damage(manifest, frame, "it cannot be decompressed") from None
    if lines.pop() or len(lines) != frame.count:
        raise _damage(manifest, frame, "it does not have as many rows as it should")
    return lines


def check(manifest: Manifest, frame: Frame, content: bytes) -> None:
    """Raise DamagedArchive if these are not the bytes of a frame."""
    if len(content) != frame.length or hashlib.sha256(content).hexdigest() != frame.sha256:
        raise _damage(manifest, frame, "its checksum is wrong")


def row_of(manifest: Manifest, frame: Frame, line: bytes) -> ChatInteraction:
    """The row in a line of a frame. Raises DamagedArchive."""
    return _decoded(from_json, manifest, frame, line)


def key_of(manifest: Manifest, frame: Frame, line: bytes) -> Key:
    """Whose row is in a line of a frame, and its id. Raises DamagedArchive."""
    return _decoded(_KEYS.decode, manifest, frame, line)


def rows_of(manifest: Manifest, frame: Frame, content: bytes) -> list[ChatInteraction]:
    """The rows of a frame whose bytes are `content`, in order. Raises DamagedArchive."""
    rows = [row_of(manifest, frame, line) for line in lines_of(manifest, frame, content)]
    if frame.first is not None and rows[0].position != frame.first:
        raise _damage(manifest, frame, "it does not begin with its first row")
    return rows


def ids_of(name: str, content: bytes) -> list[str]:
    """The ids of the rows in a data file without a manifest. Raises DamagedArchive."""
    try:
        lines = zstd.decompress(content).splitlines()
        return [_KEYS.decode(line).interaction_id for line in lines]
    except (zstd.ZstdError, ValueError):
        raise DamagedArchive(name, "it has no manifest, and cannot be read without") from None


def _check(segment: str, rows: Sequence[ChatInteraction]) -> None:
    day = names.day_of(segment)
    if any(row.created_at.astimezone(UTC).date() != day for row in rows):
        raise ValueError(f"A row was not created on {day}, the day of its segment.")
    if len({row.position for row in rows}) != len(rows):
        raise ValueError("A row of a segment is there twice.")


def _decoded(decode: Callable[[bytes], T], manifest: Manifest, frame: Frame, line: bytes) -> T:
    try:
        return decode(line)
    except ValueError:
        raise _damage(manifest, frame, "it has a line that is no row") from None


def _damage(manifest: Manifest, frame: Frame, problem: str) -> DamagedArchive:
    place = f"the part of {frame.length} bytes at {frame.offset}"
    return DamagedArchive(manifest.data, f"{place}: {problem}")
