"""Small JSON documents with a checksum: `{"sha256": of the content, "content": {...}}`.

The checksum is that of the content's bytes, so any difference, even a space, is damage.
"""

import hashlib
from typing import Any

import orjson

from storage.exceptions import DamagedArchive

Content = dict[str, Any]
"""A JSON object."""

_END = b"}\n"
_BEGINNING = len('{"sha256":"') + 64 + len('","content":')


def dumps(content: Content) -> bytes:
    """The document with this content."""
    return _document(orjson.dumps(content))


def loads(name: str, document: bytes) -> Content:
    """The content of a document. Raises DamagedArchive, which names the file `name`."""
    try:
        content = orjson.loads(text_of(name, document))
    except ValueError:
        raise _damage(name) from None
    if not isinstance(content, dict):
        raise _damage(name)
    return content


def text_of(name: str, document: bytes) -> bytes:
    """The content of a document as it was written. Raises DamagedArchive as `loads` does."""
    text = document[_BEGINNING : -len(_END)]
    if document != _document(text):
        raise _damage(name)
    return text


def _document(text: bytes) -> bytes:
    return b'{"sha256":"%b","content":%b%b' % (_digest(text), text, _END)


def _digest(text: bytes) -> bytes:
    return hashlib.sha256(text).hexdigest().encode()


def _damage(name: str) -> DamagedArchive:
    return DamagedArchive(name, "its checksum is not that of its content")
