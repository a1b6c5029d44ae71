"""Small JSON documents with a checksum: `{"sha256": of the content, "content": {...}}`.

A content can be written in one way only, so any difference, even a space, is damage.
"""

import hashlib
from typing import Any

import orjson

from storage.exceptions import DamagedArchive

Content = dict[str, Any]
"""A JSON object."""


def dumps(content: Content) -> bytes:
    """The document with this content."""
    text = orjson.dumps(content)
    return b'{"sha256":"%b","content":%b}\n' % (hashlib.sha256(text).hexdigest().encode(), text)


def loads(name: str, document: bytes) -> Content:
    """The content of a document. Raises DamagedArchive, which names the file `name`."""
    try:
        content = orjson.loads(document)["content"]
        intact = isinstance(content, dict) and dumps(content) == document
    except (ValueError, TypeError, LookupError):
        intact = False
    if not intact:
        raise DamagedArchive(name, "its checksum is not that of its content")
    return content
