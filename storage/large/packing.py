"""The content of an object: two frames of zstd, each with its checksum.

The first is a small head, a line of JSON with the ids of the interaction and its user, so that an
object which no row names leads to where its row would be. The second has the texts.
`zstd -d` reads both.
"""

from dataclasses import dataclass

import orjson

from storage.compat import zstd

HEAD_BYTES = 8192
"""At least what a packed head has: two ids of 255 characters, at most six bytes each in JSON."""

_OPTIONS: dict[int, int] = {zstd.CompressionParameter.checksum_flag: 1}


class Unreadable(Exception):
    """The content is not what was written; the message says in which way, without any of it."""


@dataclass(frozen=True, slots=True)
class Head:
    """Whose texts an object has."""

    interaction_id: str
    user_id: str
    message_bytes: int
    response_bytes: int


def packed(interaction_id: str, user_id: str, message: bytes, response: bytes) -> bytes:
    """The content of the object with these texts."""
    head = [interaction_id, user_id, len(message), len(response)]
    texts = zstd.compress(message + response, options=_OPTIONS)
    return zstd.compress(orjson.dumps(head) + b"\n", options=_OPTIONS) + texts


def most_bytes(text_bytes: int) -> int:
    """The most bytes that an object with so many bytes of text can have."""
    return HEAD_BYTES + text_bytes + text_bytes // 128 + 1024


def head_of(content: bytes) -> Head:
    """The head, from the first HEAD_BYTES of an object or more. Raises Unreadable."""
    return _headed(content)[0]


def unpacked(content: bytes, text_bytes: int) -> tuple[Head, str, str]:
    """The head, the message and the response. Raises Unreadable.

    Unpacks at most `text_bytes` and one byte, whatever the content claims to have.
    """
    head, frames = _headed(content)
    if head.message_bytes + head.response_bytes != text_bytes:
        raise Unreadable("it has texts of another length")
    texts, after = _frame(frames, text_bytes)
    if len(texts) != text_bytes or after:
        raise Unreadable("it has texts of another length")
    try:
        message = texts[: head.message_bytes].decode()
        return head, message, texts[head.message_bytes :].decode()
    except UnicodeDecodeError:
        raise Unreadable("its texts are not UTF-8") from None


def _headed(content: bytes) -> tuple[Head, bytes]:
    line, after = _frame(content, HEAD_BYTES)
    try:
        interaction_id, user_id, message_bytes, response_bytes = orjson.loads(line)
    except (ValueError, TypeError):
        raise Unreadable("its head cannot be read") from None
    head = Head(interaction_id, user_id, message_bytes, response_bytes)
    if [type(part) for part in (interaction_id, user_id)] != [str, str] or not all(
        type(part) is int and part >= 0 for part in (message_bytes, response_bytes)
    ):
        raise Unreadable("its head cannot be read")
    return head, after


def _frame(content: bytes, at_most: int) -> tuple[bytes, bytes]:
    """The first frame unpacked, of which `at_most` bytes are allowed, and what is behind it."""
    decompressor = zstd.ZstdDecompressor()
    try:
        text = decompressor.decompress(content, at_most + 1)
    except zstd.ZstdError:
        raise Unreadable("it cannot be unpacked") from None
    if not decompressor.eof:
        raise Unreadable("it is cut off, or longer than it should be")
    return text, decompressor.unused_data
