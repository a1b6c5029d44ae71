"""The message and the response in an item: plain, or both in one compressed attribute.

Compressed, they are one byte that says how (FORM), and a frame of zstd with its checksum: the
message, NUL, the response. Neither text contains NUL. Items that were written before have them
plain, as do items for which compression gains nothing; both are read for ever. What that saves is
in docs/decisions/0047-compressed-texts.md.
"""

import binascii
import threading
from typing import Any

import orjson

from storage.compat import zstd
from storage.exceptions import DamagedItem

Attributes = dict[str, dict[str, Any]]

PACKED = "t"
"""The attribute of both texts, compressed."""

PLAIN = ("message", "response")

FORM = b"\x01"

LEVEL = 3

WORTH_TRYING = 128
"""Bytes. Of shorter texts, a frame saves next to nothing: 18 bytes of it are no text."""

UNPACKED_BYTES = 390_001
"""The most that a frame unpacks to: what fits into an item plain, and the NUL. A frame of 400 KB
could otherwise be made to take 1 GB of memory."""


def pack_texts(message: str, response: str) -> Attributes:
    """Returns the attributes of both texts: one, or two if compression does not make them smaller.

    That is how DynamoDB charges: by bytes stored, and a unit for each 1,024 bytes written.
    """
    text = f"{message}\0{response}".encode()
    if len(text) >= WORTH_TRYING:
        packed = FORM + _compressor.frame(text)
        if len(PACKED) + len(packed) < len("".join(PLAIN)) + len(text) - 1:
            return {PACKED: {"B": packed}}
    return {"message": {"S": message}, "response": {"S": response}}


def unpack_texts(item: Attributes) -> tuple[str, str]:
    """Returns the message and the response in an item of either form. Raises DamagedItem."""
    if PACKED not in item:
        return item["message"]["S"], item["response"]["S"]
    packed = item[PACKED]["B"]
    try:
        if isinstance(packed, str):  # as DynamoDB sends it; botocore decodes it
            packed = binascii.a2b_base64(packed)
        message, separator, response = _unpacked(packed).decode().partition("\0")
    except (ValueError, zstd.ZstdError) as error:
        # The error of a decoder has what it could not decode.
        raise _damaged(item, f"{type(error).__name__} while unpacking its texts") from None
    if not separator:
        raise _damaged(item, "its texts have no end of the message")
    return message, response


def text_bytes(item: Attributes) -> int:
    """The most bytes that the texts of an item take in the JSON of a request.

    botocore writes what is not ASCII as escapes, of six bytes for a character.
    """
    if PACKED in item:
        return len(item[PACKED]["B"]) * 4 // 3 + 4
    return sum(_json_bytes(item[name]["S"]) for name in PLAIN)


class _Compressor:
    """One compressor for all threads: a new one costs twice as much as compressing 2 KB with it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._compressor = zstd.ZstdCompressor(
            options={
                zstd.CompressionParameter.compression_level: LEVEL,
                zstd.CompressionParameter.checksum_flag: 1,
            }
        )

    def frame(self, text: bytes) -> bytes:
        """Compress a text on its own."""
        with self._lock:
            self._compressor.set_pledged_input_size(len(text))
            return self._compressor.compress(text, zstd.ZstdCompressor.FLUSH_FRAME)


_compressor = _Compressor()


def _unpacked(packed: bytes) -> bytes:
    """Raises ValueError and ZstdError for what `pack_texts` has not made."""
    if packed[:1] != FORM:
        raise ValueError("not a form that this version knows")
    frame = memoryview(packed)[1:]
    size = zstd.get_frame_info(frame).decompressed_size
    if size is None or size > UNPACKED_BYTES:
        raise ValueError("too large")
    decompressor = zstd.ZstdDecompressor()
    text = decompressor.decompress(frame, max_length=size + 1)
    if not decompressor.eof or decompressor.unused_data:
        raise ValueError("not one whole frame")
    return text


def _damaged(item: Attributes, problem: str) -> DamagedItem:
    return DamagedItem(item["interaction_id"]["S"], problem)


def _json_bytes(text: str) -> int:
    quoted = orjson.dumps(text)
    return len(quoted) if text.isascii() else 3 * len(quoted)
