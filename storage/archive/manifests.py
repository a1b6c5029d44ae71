"""The manifest of a segment: which file has its rows, where they are in it, and whose they are.

In format 2 the rows are sorted by user, and `times` says when each was created. Format 1, which is
no longer written, has them sorted by time.
"""

from bisect import bisect_right
from collections.abc import Mapping
from datetime import datetime
from functools import cached_property
from itertools import accumulate, pairwise
from typing import Annotated, Any

import msgspec

from storage.archive import documents, heads, names
from storage.archive.pseudonyms import Sought
from storage.exceptions import DamagedArchive
from storage.records.cursors import Position

BY_TIME = 1
"""The format of segments whose rows are sorted by time and id."""

FORMAT = 2
"""The format of segments that are written now: sorted by pseudonym, then by time and id."""

_Count = Annotated[int, msgspec.Meta(ge=0)]
_Time = Annotated[datetime, msgspec.Meta(tz=True)]
_Microseconds = Annotated[int, msgspec.Meta(ge=0, lt=86_400_000_000)]


class Frame(msgspec.Struct, frozen=True, omit_defaults=True):
    """A part of the data file that is compressed and checked by itself."""

    offset: _Count
    length: _Count
    count: _Count
    sha256: str
    """Of the compressed bytes."""
    first: tuple[_Time, str] | None = None
    """The position of its first row, in format 1."""

    def __repr__(self) -> str:
        return f"<Frame at {self.offset}>"


class Manifest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, dict=True):
    """What is known about a segment without its rows."""

    format: int
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
    """Rows of each user, by pseudonym, sorted. None in format 1 if there are very many."""
    key_id: str
    """The key of the pseudonyms."""
    times: tuple[_Microseconds, ...] | None = None
    """When each row was created, as microseconds of the day, in the order of the file."""

    def __repr__(self) -> str:
        return f"<Manifest of {self.segment}>"

    @property
    def is_by_time(self) -> bool:
        """Whether its rows are sorted by time, as in format 1."""
        return self.times is None

    def may_hold(self, user_id: str) -> bool:
        """Whether there may be rows of this user. Only reading the rows makes sure."""
        return bool(self.holders(Sought([user_id])))

    def holders(self, sought: Sought) -> Mapping[str, str | None]:
        """Those of the users who may have rows, with their pseudonyms in this segment, if known."""
        return sought.among(self.key_id, self.users)

    def rows_of(self, pseudonym: str | None) -> range:
        """The numbers of a user's rows in the file, in format 2; all of them, if None is known."""
        if pseudonym is None:
            return range(self.count)
        end = self._ends.get(pseudonym, 0)
        return range(end - (self.users or {}).get(pseudonym, 0), end)

    @cached_property
    def _ends(self) -> Mapping[str, int]:
        users = self.users or {}
        return dict(zip(users, accumulate(users.values()), strict=True))

    @cached_property
    def by_time(self) -> list[int]:
        """In format 2, the numbers of all rows, newest first."""
        times = self.times or ()
        return sorted(range(len(times)), key=times.__getitem__, reverse=True)

    @cached_property
    def starts(self) -> list[int]:
        """The number of the first row of each frame."""
        return [0, *accumulate(frame.count for frame in self.frames)][:-1]

    def frame_with(self, row: int) -> int:
        """The index of the frame that has the row of this number."""
        return bisect_right(self.starts, row) - 1

    def may_hold_any(self, sought: Sought) -> bool:
        """Whether there may be rows of any of these users."""
        return sought.has_any(self.key_id, self.users)

    def frame_of(self, position: Position) -> int | None:
        """In format 1, the index of the one frame that can have the row at `position`, or None."""
        firsts: Any = [frame.first for frame in self.frames]
        number = bisect_right(firsts, position) - 1
        return number if number >= 0 else None

    def count_until(self, until: datetime) -> int:
        """How many rows were created until then; in format 1 without those of one frame at most."""
        if self.newest <= until:
            return self.count
        if self.times is not None:
            day = names.day_of(self.segment)
            return sum(heads.time_of(day, time) <= until for time in self.times)
        following: Any = pairwise(self.frames)
        return sum(frame.count for frame, after in following if after.first[0] <= until)

    def head(self) -> str:
        """What the name of its data file says, in format 2: see `storage.archive.heads`."""
        times, users = self.times or (), self.users or {}
        return heads.to_text(self.count, self.bytes, times, self.key_id, users)


_DECODER = msgspec.json.Decoder(Manifest)


def to_document(manifest: Manifest) -> bytes:
    """The manifest as the content of its file."""
    return documents.dumps(msgspec.to_builtins(manifest))


def from_document(segment: str, document: bytes) -> Manifest:
    """The manifest of a segment from the content of its file. Raises DamagedArchive."""
    name = names.manifest_of(segment)
    text = documents.text_of(name, document)
    try:
        manifest = _DECODER.decode(text)
    except msgspec.DecodeError:
        _refuse_unknown_format(name, document)
        raise DamagedArchive(name, "it is not a manifest") from None
    if manifest.format not in (BY_TIME, FORMAT):
        _refuse_unknown_format(name, document)
    if manifest.segment != segment or not names.is_data_of(manifest.data, segment):
        raise DamagedArchive(name, "it is that of another segment")
    if not _is_consistent(manifest):
        raise DamagedArchive(name, "what it says does not fit together")
    return manifest


def _refuse_unknown_format(name: str, document: bytes) -> None:
    if documents.loads(name, document).get("format") not in (BY_TIME, FORMAT):
        raise DamagedArchive(name, "it is of a format that this version does not know")


def _is_consistent(manifest: Manifest) -> bool:
    """Whether the frames cover the whole file and all rows, and the rest agrees with them."""
    end = 0
    for frame in manifest.frames:
        if frame.offset != end or not frame.count:
            return False
        end += frame.length
    return (
        bool(manifest.frames)
        and end == manifest.bytes
        and sum(frame.count for frame in manifest.frames) == manifest.count
        and manifest.oldest <= manifest.newest
        and (_fits_by_time(manifest) if manifest.format == BY_TIME else _fits_by_user(manifest))
    )


def _fits_by_time(manifest: Manifest) -> bool:
    firsts = [frame.first for frame in manifest.frames]
    return (
        manifest.times is None
        and None not in firsts
        and firsts[0] is not None
        and firsts[0][0] == manifest.oldest
    )


def _fits_by_user(manifest: Manifest) -> bool:
    times, users, day = manifest.times, manifest.users, names.day_of(manifest.segment)
    return (
        times is not None
        and users is not None
        and len(times) == manifest.count == sum(users.values())
        and list(users) == sorted(users)
        and heads.time_of(day, min(times)) == manifest.oldest
        and heads.time_of(day, max(times)) == manifest.newest
        and names.head_of(manifest.data) == manifest.head()
    )
