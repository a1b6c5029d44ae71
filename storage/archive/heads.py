"""The head of a segment: what the name of its data file says, so that a list of files tells it.

A data file is never changed, and its name belongs to its content, as the manifest does that names
both. So a head is no second truth: a rewritten segment has a new file with a new head. Whoever
reads a head that is out of date learns of rows too many, never of too few: rewriting only drops
rows.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from storage.archive import names
from storage.archive.pseudonyms import Sought

PREFIX = 8
"""Hexadecimal digits of a pseudonym in a head: with a million users a day few share them."""


@dataclass(frozen=True, slots=True)
class Head:
    """How much a segment has, from when to when, and from which pseudonym to which."""

    count: int
    """Rows."""
    bytes: int
    """Length of the data file."""
    oldest: datetime
    newest: datetime
    key_id: str
    """The key of the pseudonyms."""
    first_user: str
    """The first digits of the smallest pseudonym."""
    last_user: str

    def holders(self, sought: Sought) -> Collection[str]:
        """Those of the users who may have rows."""
        return sought.between(self.key_id, self.first_user, self.last_user)

    def __str__(self) -> str:
        """As part of the name of a data file; times are microseconds of the day."""
        fields = (self.count, self.bytes, microseconds(self.oldest), microseconds(self.newest))
        return ".".join([*map(str, fields), self.key_id, self.first_user, self.last_user])


@dataclass(frozen=True, slots=True)
class Listed:
    """A segment as a list of files shows it."""

    segment: str
    head: Head | None
    """None if only the manifest tells: it is of an earlier version, or just being rewritten."""


def of_file(data: str) -> Head | None:
    """The head in the name of a data file with its folder, or None."""
    head = names.head_of(data)
    return None if head is None else _parsed(names.as_day(data.partition("/")[0]), head)


def listed(day: date, files: Iterable[str]) -> tuple[list[Listed], list[str]]:
    """The segments of a day, by the files in its folder; and those without a manifest. Sorted."""
    heads: dict[str, list[str | None]] = {}
    with_manifest = set()
    for file in filter(None, map(names.parsed, files)):
        if file.is_manifest:
            with_manifest.add(file.id)
        else:
            heads.setdefault(file.id, []).append(file.head)
    segments = [
        Listed(f"{day.isoformat()}/{name}", _only(day, heads.get(name, [])))
        for name in sorted(with_manifest)
    ]
    lost = [f"{day.isoformat()}/{name}" for name in sorted(heads.keys() - with_manifest)]
    return segments, lost


def microseconds(time: datetime) -> int:
    """The microsecond of its day (UTC)."""
    of_day = time.astimezone(UTC)
    seconds = (of_day.hour * 60 + of_day.minute) * 60 + of_day.second
    return seconds * 1_000_000 + of_day.microsecond


def time_of(day: date, microseconds: int) -> datetime:
    """The inverse of `microseconds`. Raises OverflowError behind the end of time."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(microseconds=microseconds)


def _only(day: date, heads: list[str | None]) -> Head | None:
    """The head of a segment with one data file. With several, only the manifest tells which."""
    return _parsed(day, heads[0]) if len(heads) == 1 else None


def _parsed(day: date | None, head: str | None) -> Head | None:
    if day is None or head is None:
        return None
    count, size, oldest, newest, key_id, first, last = head.split(".")
    try:
        times = time_of(day, int(oldest)), time_of(day, int(newest))
        return Head(int(count), int(size), *times, key_id, first, last)
    except (ValueError, OverflowError):  # no name that this archive has given
        return None
