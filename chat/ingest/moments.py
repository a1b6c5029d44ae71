"""Reads times as tools write them, cut to microseconds."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

from chat.times import parse_time

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_OFFSET = re.compile(r"(?:[Zz]|[+-]\d\d:\d\d)$", re.ASCII)


def from_epoch(seconds: Any) -> datetime | None:
    """The time so many seconds after the beginning of 1970; None if that is no time."""
    if type(seconds) not in (int, float):
        return None
    try:
        return _EPOCH + timedelta(microseconds=int(seconds * 1_000_000))
    except (OverflowError, ValueError):  # too far away, infinite, or NaN
        return None


def from_text(text: Any) -> datetime | None:
    """The time in an RFC 3339 text; None if it is none.

    Without an offset it is UTC: for tools only of which that was seen.
    """
    if not isinstance(text, str):
        return None
    try:
        moment = parse_time(text if _OFFSET.search(text) else f"{text}Z")
    except ValueError:
        return None
    return moment.astimezone(UTC)


def later(moment: datetime, milliseconds: Any) -> datetime:
    """The time so many milliseconds later; the same if that is no number of them."""
    if type(milliseconds) not in (int, float):
        return moment
    try:
        return moment + timedelta(microseconds=int(milliseconds * 1000))
    except (OverflowError, ValueError):
        return moment
