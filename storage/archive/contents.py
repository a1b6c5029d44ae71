"""The bytes of a segment: the frames of its data file, checked before anything of them is used."""

from collections.abc import Iterator, Sequence

from storage.archive import segments
from storage.archive.files import Files
from storage.archive.manifests import Frame, Manifest
from storage.exceptions import DamagedArchive

READ_BYTES = 1024 * 1024
"""Bytes read at once when frames are read one after another."""


class Rewritten(Exception):
    """The data file is gone."""


class Contents:
    """The data file that a manifest names. Its methods raise Rewritten, and DamagedArchive."""

    def __init__(self, files: Files, manifest: Manifest) -> None:
        self._files = files
        self.manifest = manifest

    def frames(self, first: int = 0, last: int | None = None) -> Iterator[tuple[Frame, bytes]]:
        """The frames from index `first` to `last`, by default to the end, with their bytes.

        The bytes are not checked. Raises DamagedArchive if bytes follow the last frame.
        """
        manifest = self.manifest
        wanted = manifest.frames[first : None if last is None else last + 1]
        for group in _groups(wanted):
            offset = group[0].offset
            end = group[-1].offset + group[-1].length
            beyond = 1 if end == manifest.bytes else 0
            content = self.read(offset, end - offset + beyond)
            for frame in group:
                yield frame, content[frame.offset - offset :][: frame.length]
            if len(content) > end - offset:
                raise DamagedArchive(manifest.data, "it is longer than it was")

    def lines(self, first: int, last: int) -> dict[int, list[bytes]]:
        """The lines of the frames from index `first` to `last`, by index."""
        return {
            number: segments.lines_of(self.manifest, frame, content)
            for number, (frame, content) in enumerate(self.frames(first, last), first)
        }

    def read(self, offset: int, length: int) -> bytes:
        """Bytes of the data file, fewer at its end."""
        content = self._files.read(self.manifest.data, offset, length)
        if content is None:
            raise Rewritten
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
