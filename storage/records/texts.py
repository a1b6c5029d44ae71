"""What a row keeps in place of its texts, if they are large."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

INLINE_MAX_BYTES = 131_072
"""Bytes of UTF-8 in `message` and `response` together. Texts above it are kept in an object."""

OBJECT = "text_object"
"""The column, attribute and key that has `TextObject.dumps`, in a row whose texts are large."""

_FORM = re.compile(
    r"(?P<place>[0-9a-f]{8}/[0-9a-f]{32})/(?P<version>[0-9a-f]{32}) "
    r"(?P<bytes>[0-9]{1,12}) (?P<characters>[0-9]{1,12}) (?P<sha256>[0-9a-f]{64})"
    r"( [a-z+]+)?",  # which texts it has, for whoever decodes the row
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class TextObject:
    """Names the object that has the texts of a row, and says how large they are."""

    version: str
    """32 hexadecimal digits, random: no name is ever written twice."""
    bytes: int
    """Of UTF-8 in message and response together."""
    characters: int
    """Of message and response together, so a page knows them before it fetches anything."""
    sha256: str
    """Of the object as it is stored, in hexadecimal digits."""
    place: str
    """The user's folder when it was written: a key's id and a pseudonym."""

    @property
    def name(self) -> str:
        """The object's name in the archive."""
        return f"large/{self.place}/{self.version}"

    def dumps(self) -> str:
        """As a short string, for a column or an attribute."""
        return f"{self.place}/{self.version} {self.bytes} {self.characters} {self.sha256}"

    @classmethod
    def loads(cls, value: str) -> Self:
        """What `dumps` made. Raises ValueError for anything else."""
        match = _FORM.fullmatch(value)
        if match is None:
            raise ValueError("Not a reference to an object with texts.")
        return cls(
            version=match["version"],
            bytes=int(match["bytes"]),
            characters=int(match["characters"]),
            sha256=match["sha256"],
            place=match["place"],
        )


def characters_of(row: Mapping[str, Any]) -> int:
    """The characters of message and response, wherever they lie."""
    if not row.get(OBJECT):
        return len(row["message"]) + len(row["response"])
    return characters_in(row) + TextObject.loads(row[OBJECT]).characters


def characters_in(row: Mapping[str, Any]) -> int:
    """The characters of message and response that are in the row itself."""
    return sum(len(text) for text in (row["message"], row["response"]) if isinstance(text, str))
