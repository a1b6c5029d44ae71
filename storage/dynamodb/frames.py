"""Frames of zstd for texts of some kilobytes, where most of the time goes into beginning.

Compressing takes one compressor for all threads. Python's decompressors serve one frame each, and a
new one costs four times as much as what it then does: it asks the processor what it can do, and on
a virtual machine that is answered by the hypervisor. A page of 50 took half as much time again. So
frames are unpacked by the library in the package itself, with one context. Where the library shows
no such functions, a new decompressor does it.
"""

import ctypes
import sys
import threading
from collections.abc import Callable
from functools import cache

from storage.compat import zstd

LEVEL = 3

AT_MOST = 390_001
"""Bytes that a frame may unpack to: what fits into an item plain, and the NUL between both texts.
A frame of 400 KB can be made to unpack to 1 GB."""

Unpack = Callable[[bytes], str]
"""Returns the text in a frame. Raises ValueError and ZstdError for what is no frame, or too large.
What follows the frame is an error, too, unless that is another frame."""

_compressor = zstd.ZstdCompressor(
    options={
        zstd.CompressionParameter.compression_level: LEVEL,
        zstd.CompressionParameter.checksum_flag: 1,
    }
)
_compressing = threading.Lock()


def compress(text: bytes) -> bytes:
    """Returns a frame with its checksum and its size."""
    with _compressing:
        _compressor.set_pledged_input_size(len(text))
        return _compressor.compress(text, zstd.ZstdCompressor.FLUSH_FRAME)


@cache
def decompressor() -> Unpack:
    """Returns the quicker of the two ways that there is."""
    return with_one_context() or with_new_decompressor


def with_new_decompressor(frame: bytes) -> str:
    """Unpacks with what Python has."""
    size = zstd.get_frame_info(frame).decompressed_size
    if size is None or size > AT_MOST:  # its window would take as much memory
        raise ValueError("not a frame of texts, by its size")
    one = zstd.ZstdDecompressor()
    text = one.decompress(frame, max_length=size + 1)
    if not one.eof or one.unused_data:
        raise ValueError("not one whole frame")
    return text.decode()


def with_one_context() -> Unpack | None:
    """Returns what unpacks with the functions of the library, or None if it does not show them."""
    file = _file_of_library()
    if file is None:
        return None
    try:
        # Calls of a PyDLL keep the interpreter's lock, and take some microseconds.
        library = ctypes.PyDLL(file)
        function = library.ZSTD_decompressDCtx
        make = library.ZSTD_createDCtx
    except (OSError, AttributeError):
        return None
    make.restype = ctypes.c_void_p
    context = ctypes.c_void_p(make())
    if not context:
        return None
    function.restype = ctypes.c_size_t
    function.argtypes = [
        ctypes.c_void_p,
        ctypes.c_void_p,
        ctypes.c_size_t,
        ctypes.c_char_p,
        ctypes.c_size_t,
    ]
    space = ctypes.create_string_buffer(AT_MOST)
    address, view, using = ctypes.addressof(space), memoryview(space), threading.Lock()

    def unpack(frame: bytes) -> str:
        with using:
            # It never writes more than AT_MOST bytes. An error is a number above all sizes.
            size = function(context, address, AT_MOST, frame, len(frame))
            if size > AT_MOST:
                raise ValueError("not one whole frame of texts")
            return str(view[:size], "utf-8")

    return unpack


def _file_of_library() -> str | None:
    """Python's module in C, or the package's of the same name."""
    module = sys.modules.get("_zstd") or sys.modules.get("backports.zstd._zstd")
    return getattr(module, "__file__", None)
