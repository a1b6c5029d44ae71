"""Small JSON documents that tell when they are not what was written.

One line: `{"sha256": of the content, "content": {...}}`. There is one way to write a content, so
whatever differs from it, be it a space, is damage.
"""

import hashlib
from typing import Any

import orjson

from storage.exceptions import DamagedArchive

Content = dict[str, Any]
"""What JSON can hold, with text for keys."""


def dumps(content: Content) -> bytes:
    """The document with this content."""
    text = orjson.dumps(content)
    return b'{"sha256":"%b","content":%b}\n' % (hashlib.sha256(text).hexdigest().encode(), text)


def loads(name: str, document: bytes) -> Content:
    """The content of the document that the file `name` has. Raises DamagedArchive."""
    try:
        content = orjson.loads(document)["content"]
        intact = isinstance(content, dict) and dumps(content) == document
    except (ValueError, TypeError, LookupError):
        intact = False
    if not intact:
        raise DamagedArchive(name, "its checksum is not that of its content")
    return content
