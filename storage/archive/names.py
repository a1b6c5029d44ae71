"""The names of the archive's files. Files with other names are never written, read or deleted."""

import re
import secrets
from collections.abc import Collection, Iterable
from datetime import date

from uuid_utils import uuid7

PENDING = "pending"
"""The folder of the markers."""

_DAY = r"\d{4}-\d{2}-\d{2}"
_ID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_RANDOM = r"[0-9a-f]{16}"
_HEAD = r"[0-9]{1,9}\.[0-9]{1,12}(?:\.[0-9]{1,11}){2}(?:\.[0-9a-f]{8}){3}"
"""See `storage.archive.heads`: rows, bytes, microseconds, a key and pseudonyms."""
_SEGMENT = re.compile(rf"({_DAY})/{_ID}", re.ASCII)
_FILE = re.compile(rf"({_ID})(?:\.json|-{_RANDOM}(|\.{_HEAD})\.jsonl\.zst)", re.ASCII)
_MARKER = re.compile(rf"({_DAY})\.({_ID})\.{_RANDOM}", re.ASCII)


def new_segment(day: date) -> str:
    """A name for a segment with rows of `day`. Later names sort after earlier ones."""
    return f"{day.isoformat()}/{uuid7()}"


def day_of(segment: str) -> date:
    """The day of a segment's rows. Raises ValueError for what is not a segment's name."""
    if match := _SEGMENT.fullmatch(segment):
        return date.fromisoformat(match[1])
    raise ValueError("Not the name of a segment of the archive.")


def manifest_of(segment: str) -> str:
    """The name of a segment's manifest. Raises ValueError as `day_of` does."""
    day_of(segment)
    return f"{segment}.json"


def new_data(segment: str, head: str = "") -> str:
    """A name for a file with a segment's rows that was never used before, with its head if any."""
    return f"{segment}-{secrets.token_hex(8)}{head and '.'}{head}.jsonl.zst"


def is_data_of(name: str, segment: str) -> bool:
    """Whether a file has, or once had, rows of the segment."""
    return bool(data_of([name], [segment]))


def data_of(files: Iterable[str], segments: Collection[str]) -> list[str]:
    """Those of the files that have, or once had, rows of some segments."""
    wanted = set(segments)
    found = []
    for file in files:
        folder, _, name = file.rpartition("/")
        of = parsed(name)
        if of and of[1] is not None and f"{folder}/{of[0]}" in wanted:
            found.append(file)
    return found


def head_of(data: str) -> str:
    """The head in the name of a data file; empty if it has none, as in earlier versions."""
    return (parsed(data.rpartition("/")[2]) or ("", None))[1] or ""


def new_marker(segment: str) -> str:
    """A name for a marker of a segment. Raises ValueError as `day_of` does."""
    day_of(segment)
    return f"{PENDING}/{segment.replace('/', '.')}.{secrets.token_hex(8)}"


def marked_by(file: str) -> str | None:
    """The segment that a file in `pending/` marks, or None if the file is not a marker."""
    match = _MARKER.fullmatch(file)
    return f"{match[1]}/{match[2]}" if match and as_day(match[1]) else None


def as_day(folder: str) -> date | None:
    """The day of a folder, or None if the folder is not a day's."""
    try:
        return date.fromisoformat(folder) if re.fullmatch(_DAY, folder, re.ASCII) else None
    except ValueError:
        return None


def parsed(file: str) -> tuple[str, str | None] | None:
    """Which segment's a file in the folder of a day is, by the last part of its name.

    With the head of a data file, which may be empty, and None of a manifest. Returns None for
    what is neither.
    """
    match = _FILE.fullmatch(file)
    return None if match is None else (match[1], match[2] and match[2][1:])
