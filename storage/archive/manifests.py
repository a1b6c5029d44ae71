"""The manifest of a segment: which file has its rows, where they are in it, and whose they are."""

from bisect import bisect_right
from collections.abc import Mapping, Set
from datetime import datetime
from typing import Annotated, Any

import msgspec

from storage.archive import documents, names, pseudonyms
from storage.exceptions import DamagedArchive
from storage.records.cursors import Position

FORMAT = 1

USERS_MAX = 10_000
"""The most users that a manifest lists. With more it lists none, and anyone may have rows."""

_Count = Annotated[int, msgspec.Meta(ge=0)]
_Time = Annotated[datetime, msgspec.Meta(tz=True)]


class Frame(msgspec.Struct, frozen=True):
    """A part of the data file that is compressed and checked by itself."""

    offset: _Count
    length: _Count
    count: _Count
    sha256: str
    """Of the compressed bytes."""
    first: tuple[_Time, str]
    """The position of its first row."""

    def __repr__(self) -> str:
        return f"<Frame at {self.offset}>"


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What is known about a segment without its rows."""

    format: int = FORMAT
    segment: str
    data: str
    """The file with the rows."""
    sha256: str
    bytes: _Count
    count: _Count
    oldest: _Time
    newest: _Time
    frames: tuple[Frame, ...]
    users: dict[str, _Count] | None
    """Rows of each user, by pseudonym; None if there are more than `USERS_MAX`."""
    key_id: str
    """The key of the pseudonyms."""

    def __repr__(self) -> str:
        return f"<Manifest of {self.segment}>"

    def may_hold(self, user_id: str) -> bool:
        """Whether there may be rows of this user. Only reading the rows makes sure."""
        pseudonym = pseudonyms.pseudonyms_by_key(user_id).get(self.key_id)
        return pseudonym is None or self.users is None or pseudonym in self.users

    def may_hold_any(self, wanted: Mapping[str, Set[str]]) -> bool:
        """The same of users of whom there are `pseudonyms.sets_by_key`."""
        known = wanted.get(self.key_id)
        if known is None or self.users is None:
            return any(wanted.values())
        return not known.isdisjoint(self.users)

    def frame_of(self, position: Position) -> int | None:
        """The index of the one frame that can have the row at `position`, or None."""
        number = bisect_right(self.frames, position, key=lambda frame: frame.first) - 1
        return number if number >= 0 else None


def to_document(manifest: Manifest) -> bytes:
    """The manifest as the content of its file."""
    return documents.dumps(msgspec.to_builtins(manifest))


def from_document(segment: str, document: bytes) -> Manifest:
    """The manifest of a segment from the content of its file. Raises DamagedArchive."""
    name = names.manifest_of(segment)
    content = documents.loads(name, document)
    if content.get("format") != FORMAT:
        raise DamagedArchive(name, "it is of a format that this version does not know")
    try:
        manifest = msgspec.convert(content, Manifest)
    except msgspec.ValidationError:
        raise DamagedArchive(name, "it is not a manifest") from None
    if manifest.segment != segment or not names.is_data_of(manifest.data, segment):
        raise DamagedArchive(name, "it is that of another segment")
    if not _is_consistent(manifest):
        raise DamagedArchive(name, "what it says does not fit together")
    return manifest


def _is_consistent(manifest: Manifest) -> bool:
    """Whether the frames cover the whole file and all rows."""
    end = 0
    for frame in manifest.frames:
        if frame.offset != end or not frame.count:
            return False
        end += frame.length
    frames: Any = manifest.frames
    return (
        bool(frames)
        and end == manifest.bytes
        and sum(frame.count for frame in frames) == manifest.count
        and frames[0].first[0] == manifest.oldest <= manifest.newest
    )
