"""How times are read wherever they are given: in files, in query parameters, by commands.

As RFC 3339 writes them (section 5.6), and in no other form of ISO 8601. Digits beyond
microseconds are cut off, never rounded, so that no time moves into the next second or day.
"""

import re
from datetime import date, datetime

from storage import limits

RFC_3339 = "an RFC 3339 date and time with an offset, such as 2026-11-22T09:30:00Z"

A_DAY = "a day, such as 2026-10-23"

_DAY = r"(\d{4}-\d\d-\d\d)"
_CLOCK = r"(?:[01]\d|2[0-3]):[0-5]\d"
_PARTS = re.compile(
    rf"{_DAY}[Tt ]({_CLOCK}:[0-5]\d)(?:\.(\d{{1,6}})\d*)?([Zz]|[+-]{_CLOCK})", re.ASCII
)


def parse_time(text: str) -> datetime:
    """Returns the time with its offset. Raises ValueError, saying what would be right."""
    parts = _PARTS.fullmatch(text)
    if parts is None:
        raise ValueError(f"must be {RFC_3339}.")
    day, time, fraction, offset = parts.groups()
    if offset in ("Z", "z"):
        offset = "+00:00"
    try:
        value = datetime.fromisoformat(f"{day}T{time}.{(fraction or '').ljust(6, '0')}{offset}")
    except ValueError:  # such as the 30th of February
        raise ValueError(f"must be {RFC_3339}.") from None
    if problem := limits.time_violation(value):
        raise ValueError(problem)
    return value


def parse_day(text: str) -> date:
    """Returns a day. Raises ValueError, saying what would be right."""
    try:
        if re.fullmatch(_DAY, text, re.ASCII):
            return date.fromisoformat(text)
    except ValueError:  # such as the 30th of February
        pass
    raise ValueError(f"must be {A_DAY}.")
