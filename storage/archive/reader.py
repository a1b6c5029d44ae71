"""Reading a segment while it may be rewritten.

If the file that a manifest names is gone, the segment was rewritten or removed, and there is
another manifest or none. Rewriting only drops rows, so the reader goes on after the last row that
it has returned. If the manifest is still the same, the missing file is damage.
"""

import hashlib
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime

from storage.archive import pseudonyms, segments
from storage.archive.files import Files
from storage.archive.manifests import Frame, Manifest
from storage.exceptions import DamagedArchive
from storage.models import ChatInteraction
from storage.records.cursors import Position

READ_BYTES = 1024 * 1024
"""Bytes read at once when rows are read one after another."""


class _Rewritten(Exception):
    """The data file is gone."""


class Reader:
    """One reading of one segment."""

    def __init__(self, files: Files, segment: str, load: Callable[[str], Manifest | None]) -> None:
        self._files = files
        self._segment = segment
        self._load = load
        self._known: str | None = None

    def rows(self) -> Iterator[ChatInteraction]:
        """All rows, oldest first."""
        last: Position | None = None
        for manifest in self._manifests():
            with suppress(_Rewritten):
                for row in self._forward(manifest, last):
                    last = row.position
                    yield row
                return

    def newest(self, before: Position | None, after: datetime | None) -> Iterator[ChatInteraction]:
        """Rows before a position, created at `after` or later, newest first."""
        for manifest in self._manifests():
            with suppress(_Rewritten):
                for row in self._backward(manifest, before):
                    if after is not None and row.created_at < after:
                        return
                    before = row.position
                    yield row
                return

    def find(self, wanted: Sequence[Position]) -> dict[str, ChatInteraction]:
        """The rows at these positions, by id."""
        for manifest in self._manifests():
            with suppress(_Rewritten):
                return {row.interaction_id: row for row in self._at(manifest, set(wanted))}
        return {}

    def verify(self) -> Manifest | None:
        """Read all and compare it with the manifest, which is returned. Raises DamagedArchive."""
        for manifest in self._manifests():
            with suppress(_Rewritten):
                for _ in self._verified(manifest):
                    pass
                return manifest
        return None

    def verified(self) -> Iterator[ChatInteraction]:
        """All rows, while they are compared with the manifest. Raises DamagedArchive.

        If the segment is rewritten meanwhile, its new rows follow, all of them.
        """
        for manifest in self._manifests():
            with suppress(_Rewritten):
                yield from self._verified(manifest)
                return

    def _manifests(self) -> Iterator[Manifest]:
        """The current manifest, and a new one whenever the caller finds its file gone."""
        while manifest := self._load(self._segment):
            if manifest.data == self._known:
                raise DamagedArchive(manifest.data, "it is not there")
            self._known = manifest.data
            yield manifest

    def _forward(self, manifest: Manifest, last: Position | None) -> Iterator[ChatInteraction]:
        start = 0 if last is None else manifest.frame_of(last) or 0
        for frame, content in self._contents(manifest, start):
            for row in segments.rows_of(manifest, frame, content):
                if last is None or row.position > last:
                    yield row

    def _backward(self, manifest: Manifest, before: Position | None) -> Iterator[ChatInteraction]:
        firsts = [frame.first for frame in manifest.frames]
        end = len(firsts) if before is None else bisect_left(firsts, before)
        for frame in reversed(manifest.frames[:end]):
            content = self._read(manifest, frame.offset, frame.length)
            for row in reversed(segments.rows_of(manifest, frame, content)):
                if before is None or row.position < before:
                    yield row

    def _at(self, manifest: Manifest, wanted: set[Position]) -> Iterator[ChatInteraction]:
        numbers = {manifest.frame_of(position) for position in wanted}
        for number in sorted(number for number in numbers if number is not None):
            frame = manifest.frames[number]
            content = self._read(manifest, frame.offset, frame.length)
            yield from segments.wanted_rows(manifest, frame, content, wanted)

    def _verified(self, manifest: Manifest) -> Iterator[ChatInteraction]:
        whole = hashlib.sha256()
        users: Counter[str] = Counter()
        last: Position | None = None
        for frame, content in self._contents(manifest, 0):
            whole.update(content)
            for row in segments.rows_of(manifest, frame, content):
                if last is not None and row.position <= last:
                    raise DamagedArchive(manifest.data, "its rows are not in order")
                last = row.position
                if manifest.users is not None:
                    users[row.user_id] += 1
                yield row
        if whole.hexdigest() != manifest.sha256:
            raise DamagedArchive(manifest.data, "its checksum is wrong")
        if last is None or last[0] != manifest.newest:
            raise DamagedArchive(manifest.data, "its newest row is not what the manifest says")
        if manifest.key_id == pseudonyms.key_id() and manifest.users not in (
            None,
            pseudonyms.counts(users),
        ):
            raise DamagedArchive(manifest.data, "its users are not those of the manifest")

    def _contents(self, manifest: Manifest, start: int) -> Iterator[tuple[Frame, bytes]]:
        """The frames from index `start` with their bytes. Raises DamagedArchive if bytes follow."""
        for group in _groups(manifest.frames[start:]):
            offset = group[0].offset
            end = group[-1].offset + group[-1].length
            beyond = 1 if end == manifest.bytes else 0
            content = self._read(manifest, offset, end - offset + beyond)
            for frame in group:
                yield frame, content[frame.offset - offset :][: frame.length]
            if len(content) > end - offset:
                raise DamagedArchive(manifest.data, "it is longer than it was")

    def _read(self, manifest: Manifest, offset: int, length: int) -> bytes:
        content = self._files.read(manifest.data, offset, length)
        if content is None:
            raise _Rewritten
        return content


def _groups(frames: Sequence[Frame]) -> Iterator[list[Frame]]:
    """Adjacent frames in groups that are read at once."""
    group: list[Frame] = []
    for frame in frames:
        if group and frame.offset + frame.length - group[0].offset > READ_BYTES:
            yield group
            group = []
        group.append(frame)
    if group:
        yield group
