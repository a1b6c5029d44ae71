"""Frames of zstd for texts of some kilobytes, where most of the time would go into beginning.

The decompressor of Python's own `compression.zstd` serves one frame, and making one costs four
times as much as what it then does. A page of 50 took half as much time again. Those of the package
`zstandard` serve any number of frames, one thread at a time.
"""

import threading

import zstandard
from zstandard import ZstdError

__all__ = ["AT_MOST", "ZstdError", "compress", "decompress"]

LEVEL = 3

AT_MOST = 390_001
"""Bytes that a frame may unpack to: what fits into an item plain, and the NUL between both texts.
A frame of 400 KB can be made to unpack to 1 GB."""

_compressor = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True)
_compressing = threading.Lock()
_decompressor = zstandard.ZstdDecompressor()
_decompressing = threading.Lock()


def compress(text: bytes) -> bytes:
    """Returns a frame with its checksum and its size."""
    with _compressing:
        return _compressor.compress(text)


def decompress(frame: bytes) -> str:
    """Returns the text in a frame. Raises ValueError and ZstdError for what is none of `compress`.

    That is also what unpacks to more than AT_MOST bytes, and a frame with something behind it.
    """
    # The decompressor believes the size in the frame, whatever it is told to be the most.
    size = zstandard.frame_content_size(frame)
    if not 0 <= size <= AT_MOST:
        raise ValueError("not a frame of texts, by its size")
    with _decompressing:
        text = _decompressor.decompress(frame, allow_extra_data=False)
    return text.decode()
