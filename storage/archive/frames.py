"""Lines of text in frames of zstd: parts of a file that are compressed and checked by themselves.

Reading one row costs one frame, and reading many needs memory for a few. The frames of a file one
after another are what `zstd -d` reads.
"""

import hashlib
from dataclasses import dataclass
from typing import IO, Any

from storage.compat import zstd

FRAME_BYTES = 256 * 1024
"""Text in one frame before it is compressed. A longer line is a frame of its own."""


@dataclass(frozen=True)
class WrittenFrame:
    """Where a frame is in its file, and what it holds."""

    offset: int
    length: int
    count: int
    """Lines."""
    sha256: str
    """Of the compressed bytes."""


class FrameWriter:
    """Compresses lines and appends them to a file.

    `offset` and `whole` are the length and the SHA-256 of what the file has already, `frame_bytes`
    is the text of a frame (FRAME_BYTES).
    """

    def __init__(
        self,
        file: IO[bytes],
        *,
        level: int | None = None,
        frame_bytes: int | None = None,
        offset: int = 0,
        whole: Any = None,
    ) -> None:
        self.offset = offset
        self.whole = hashlib.sha256() if whole is None else whole
        self._file = file
        self._frame_bytes = FRAME_BYTES if frame_bytes is None else frame_bytes
        options: dict[int, int] = {zstd.CompressionParameter.checksum_flag: 1}
        if level is not None:
            options[zstd.CompressionParameter.compression_level] = level
        self._compressor = zstd.ZstdCompressor(options=options)
        self._lines: list[bytes] = []
        self._size = 0

    @property
    def has_lines(self) -> bool:
        """Whether there are lines since the last frame."""
        return bool(self._lines)

    def add(self, line: bytes) -> WrittenFrame | None:
        """Add a line. Returns the frame before it if that had no room left and was written."""
        is_full = self.has_lines and self._size + len(line) > self._frame_bytes
        written = self.end_frame() if is_full else None
        self._lines.append(line)
        self._size += len(line)
        return written

    def end_frame(self) -> WrittenFrame:
        """Write the lines since the last frame as one; without lines, as an empty one."""
        content = self._compressed(b"".join(self._lines))
        count = len(self._lines)
        self._lines, self._size = [], 0
        return self.append(content, count, hashlib.sha256(content).hexdigest())

    def _compressed(self, text: bytes) -> bytes:
        """The same bytes as of `zstd.compress`, which makes a compressor for each frame."""
        self._compressor.set_pledged_input_size(len(text))
        return self._compressor.compress(text, zstd.ZstdCompressor.FLUSH_FRAME)

    def append(self, content: bytes, count: int, sha256: str) -> WrittenFrame:
        """Write a frame that is compressed already, with so many lines and this SHA-256."""
        self._file.write(content)
        self.whole.update(content)
        written = WrittenFrame(self.offset, len(content), count, sha256)
        self.offset += len(content)
        return written
