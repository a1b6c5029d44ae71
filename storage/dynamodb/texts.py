"""The message and the response in an item: plain, or both in one compressed attribute.

Compressed, they are one byte that says how (FORM), and a frame of zstd with its checksum: the
message, NUL, the response. Neither text contains NUL. Items that were written before have them
plain, as do items for which compression gains nothing; both are read for ever. What that saves is
in docs/decisions/0047-compressed-texts.md.
"""

import binascii
from typing import Any

import orjson

from storage.dynamodb import frames
from storage.exceptions import DamagedItem

Attributes = dict[str, dict[str, Any]]

PACKED = "t"
"""The attribute of both texts, compressed."""

PLAIN = ("message", "response")

_MORE_IF_PLAIN = len("".join(PLAIN)) - len(PACKED) - 1
"""Bytes of names, less the NUL."""

FORM = b"\x01"

WORTH_TRYING = 128
"""Bytes. Of shorter texts, a frame saves next to nothing: 18 bytes of it are no text."""


def pack_texts(message: str, response: str) -> Attributes:
    """Returns the attributes of both texts: one, or two if compression does not make them smaller.

    That is how DynamoDB charges: by bytes stored, and a unit for each 1,024 bytes written.
    """
    text = f"{message}\0{response}".encode()
    if len(text) >= WORTH_TRYING:
        packed = FORM + frames.compress(text)
        if len(packed) < len(text) + _MORE_IF_PLAIN:
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
        if packed[:1] != FORM:
            raise ValueError("not a form that this version knows")
        message, separator, response = frames.decompress(packed[1:]).partition("\0")
    except (ValueError, frames.ZstdError) as error:
        # The error of a decoder has what it could not decode.
        raise _damaged(item, f"{type(error).__name__} while unpacking its texts") from None
    if not separator or "\0" in response:
        raise _damaged(item, "it does not have two texts")
    return message, response


def text_bytes(item: Attributes) -> int:
    """The most bytes that the texts of an item take in the JSON of a request.

    botocore writes what is not ASCII as escapes, of six bytes for a character.
    """
    if PACKED in item:
        return len(item[PACKED]["B"]) * 4 // 3 + 4
    return sum(_json_bytes(item[name]["S"]) for name in PLAIN)


def _damaged(item: Attributes, problem: str) -> DamagedItem:
    return DamagedItem(item["interaction_id"]["S"], problem)


def _json_bytes(text: str) -> int:
    quoted = orjson.dumps(text)
    return len(quoted) if text.isascii() else 3 * len(quoted)
