"""The head of a segment: what the name of its data file says, so that a list of files tells it.

A data file is never changed, and its name belongs to its content, as the manifest does that names
both. So a head is no second truth: a rewritten segment has a new file with a new head. Whoever
reads a head that is out of date learns of rows too many, never of too few: rewriting only drops
rows.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache

from storage.archive import names
from storage.archive.pseudonyms import Sought

PREFIX = 8
"""Hexadecimal digits of a pseudonym in a head: with a million users a day few share them."""


class Head:
    """How much a segment has, from when to when, and from which pseudonym to which.

    A list of an archive has thousands of them, so only what is asked for is parsed.
    """

    __slots__ = ("_day", "_fields")

    def __init__(self, day: date, text: str) -> None:
        """`text` is what `to_text` has returned, or looks like it (`storage.archive.names`)."""
        self._day = day
        self._fields = text.split(".")

    @property
    def count(self) -> int:
        """The number of rows."""
        return int(self._fields[0])

    @property
    def bytes(self) -> int:
        """The length of the data file."""
        return int(self._fields[1])

    @property
    def oldest(self) -> datetime:
        """When the oldest row was created."""
        return time_of(self._day, int(self._fields[2]))

    @property
    def newest(self) -> datetime:
        """When the newest row was created."""
        return time_of(self._day, int(self._fields[3]))

    def holders(self, sought: Sought) -> Collection[str]:
        """Those of the users who may have rows."""
        return sought.between(*self._fields[4:])


@dataclass(frozen=True, slots=True)
class Listed:
    """A segment as a list of files shows it."""

    segment: str
    head: Head | None
    """None if only the manifest tells: it is of an earlier version, or just being rewritten."""
    data: str | None
    """The data file with this head."""


def to_text(
    count: int, size: int, times: Collection[int], key_id: str, users: Iterable[str]
) -> str:
    """A head as part of the name of a data file; users are pseudonyms, sorted."""
    prefixes = [pseudonym[:PREFIX] for pseudonym in users]
    return f"{count}.{size}.{min(times)}.{max(times)}.{key_id}.{prefixes[0]}.{prefixes[-1]}"


def listed(day: date, files: Iterable[str]) -> tuple[list[Listed], list[str]]:
    """The segments of a day, by the files in its folder; and those without a manifest. Sorted."""
    folder = day.isoformat()
    data: dict[str, list[tuple[str, str]]] = {}
    with_manifest = set()
    for file in files:
        if (parsed := names.parsed(file)) is None:
            continue
        name, head = parsed
        if head is None:
            with_manifest.add(name)
        else:
            data.setdefault(name, []).append((head, f"{folder}/{file}"))
    segments = [
        Listed(f"{folder}/{name}", *_only(day, data.get(name, ())))
        for name in sorted(with_manifest)
    ]
    return segments, [f"{folder}/{name}" for name in sorted(data.keys() - with_manifest)]


def microseconds(time: datetime) -> int:
    """The microsecond of its day (UTC)."""
    of_day = time.astimezone(UTC)
    seconds = (of_day.hour * 60 + of_day.minute) * 60 + of_day.second
    return seconds * 1_000_000 + of_day.microsecond


def time_of(day: date, microseconds: int) -> datetime:
    """The inverse of `microseconds`."""
    return _midnight(day) + timedelta(microseconds=microseconds)


@lru_cache
def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def _only(day: date, files: Sequence[tuple[str, str]]) -> tuple[Head | None, str | None]:
    """The head of a segment with one data file, and the file. Of several only the manifest tells
    which counts.
    """
    text, file = files[0] if len(files) == 1 else ("", "")
    return (Head(day, text), file) if text else (None, None)
