"""Reads what tools send: compressed or not, in one piece or in chunks, up to a limit."""

import zlib
from collections.abc import Mapping
from typing import Any

from chat.api.problems import InvalidRequest, TooLarge, UnsupportedMediaType
from chat.ingest.memory import memory_of_process

UNPACKED_LIMIT = min(64 * 1024 * 1024, memory_of_process() // 16)
"""Bytes of a body once it is unpacked. OpenTelemetry's exporters send no more than 64 MB. Taking a
body in needs up to seven times its size, so a container with little memory has to refuse it before
that: 16 MB in one with 256 MB."""

_WINDOW_BITS = {"gzip": 31, "x-gzip": 31, "deflate": zlib.MAX_WBITS}
"""How zlib reads each Content-Encoding (RFC 9110, section 8.4.1)."""

_RAW_DEFLATE = -zlib.MAX_WBITS
"""What some clients send as deflate: without the header of zlib."""


def read_unpacked(environ: Mapping[str, Any], limit: int = UNPACKED_LIMIT) -> bytes:
    """The body, unpacked. Raises InvalidRequest, TooLarge and UnsupportedMediaType.

    It is read only if its declared length is at most `limit` bytes.
    """
    encoding = environ.get("HTTP_CONTENT_ENCODING", "").strip().lower()
    if encoding not in ("", "identity", *_WINDOW_BITS):
        raise UnsupportedMediaType(
            "Send the header 'Content-Encoding' as gzip or deflate, or leave it out."
        )
    body = _read(environ, limit)
    return unpacked(body, encoding, limit) if encoding in _WINDOW_BITS else body


def _read(environ: Mapping[str, Any], limit: int) -> bytes:
    in_chunks = "HTTP_TRANSFER_ENCODING" in environ
    length = limit + 1 if in_chunks else int(environ.get("CONTENT_LENGTH") or 0)
    if length > limit and not in_chunks:
        raise _too_large(limit)
    if length <= 0:
        return b""
    try:
        body: bytes = environ["wsgi.input"].read(length)
    except OSError as error:
        raise InvalidRequest("The body ended too soon.") from error
    if in_chunks:
        if len(body) > limit:
            raise _too_large(limit)
    elif len(body) < length:
        raise InvalidRequest("The body ended too soon.")
    return body


def unpacked(body: bytes, encoding: str, limit: int) -> bytes:
    """What is compressed in the body. Raises InvalidRequest, and TooLarge above `limit` bytes."""
    window_bits = _WINDOW_BITS[encoding]
    if encoding == "deflate" and not _has_zlib_header(body):
        window_bits = _RAW_DEFLATE
    unpacker = zlib.decompressobj(window_bits)
    try:
        found = unpacker.decompress(body, limit + 1)
    except zlib.error as error:
        raise InvalidRequest(f"The body is not {encoding}, as Content-Encoding says.") from error
    if len(found) > limit:
        raise _too_large(limit)
    if not unpacker.eof:
        raise InvalidRequest(f"The body is cut off: its {encoding} data has no end.")
    if unpacker.unused_data:
        raise InvalidRequest(f"The body goes on after the end of its {encoding} data.")
    return found


def _has_zlib_header(body: bytes) -> bool:
    """Whether it begins as RFC 1950, section 2.2, says."""
    return len(body) >= 2 and body[0] & 15 == 8 and int.from_bytes(body[:2], "big") % 31 == 0


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"The body must be at most {limit} bytes, unpacked. Send smaller batches.")
