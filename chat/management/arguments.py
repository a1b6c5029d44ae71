"""The types of command line arguments. Each one raises ArgumentTypeError, saying what to write."""

from argparse import ArgumentTypeError
from datetime import UTC, date, datetime

from chat import usage
from chat.times import A_DAY, RFC_3339, parse_day, parse_time
from storage import limits

LARGEST_COUNT = 1_000_000

YEARS = range(1970, 3000)
"""Of --now. Ages and the ends of backups are computed from it, and must be times, too."""


def user(text: str) -> str:
    """A user id."""
    if problem := limits.identifier_violation(text):
        raise ArgumentTypeError(f"the user id {problem}")
    return text


def moment(text: str) -> datetime:
    """A date and time with an offset, returned in UTC."""
    try:
        return parse_time(text).astimezone(UTC)
    except ValueError:
        raise ArgumentTypeError(f"write {RFC_3339}") from None


def now(text: str) -> datetime:
    """The time that a run takes for the present, in UTC."""
    value = moment(text)
    if value.year not in YEARS:
        raise ArgumentTypeError(f"write a time from the year {YEARS[0]} to {YEARS[-1]}")
    return value


def day(text: str) -> date:
    """A day, written as ISO 8601 does."""
    try:
        return parse_day(text)
    except ValueError:
        raise ArgumentTypeError(f"write {A_DAY}") from None


def dimensions(text: str) -> tuple[usage.Dimension, ...]:
    """What usage is grouped by."""
    try:
        return usage.dimensions(text)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from None


def seconds(text: str) -> float:
    """A number of seconds, 0 or more."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise ArgumentTypeError("write a number of seconds, 0 or more")
    return value


def count(text: str) -> int:
    """A number of things, 1 to LARGEST_COUNT."""
    number = int(text) if text.isascii() and text.isdecimal() else 0
    if not 1 <= number <= LARGEST_COUNT:
        raise ArgumentTypeError(f"write a number from 1 to {LARGEST_COUNT}")
    return number


def line(text: str) -> str:
    """A text that fits on one line, without the spaces around it."""
    if not text.strip() or not text.isprintable():
        raise ArgumentTypeError("write one line")
    return text.strip()
