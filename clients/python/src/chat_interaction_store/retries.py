"""When a call is tried again, and after how long."""

from __future__ import annotations

import random
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import TypeVar

import httpx

from chat_interaction_store.calls import Call
from chat_interaction_store.errors import InvalidRequest, StoreUnavailable

T = TypeVar("T")

FIRST_DELAY = 0.5
"""Seconds. Each further delay is up to twice as long."""

LONGEST_DELAY = 30.0
"""Seconds."""

LONGEST_WAIT = 120.0
"""Seconds. If the store asks for more, the caller is told instead."""


def no_answer(error: httpx.RequestError) -> StoreUnavailable:
    """Returns the error for an attempt without an answer that can be read."""
    return StoreUnavailable(f"The store did not answer: {type(error).__name__}.")


def too_long() -> InvalidRequest:
    """Returns the error for an address of which httpx makes no URL."""
    return InvalidRequest(414, "URI Too Long", "A value is too long to be part of an address.")


def answered(call: Call[T], response: httpx.Response) -> T:
    """Returns what an answer means. Raises StoreError: StoreUnavailable if the call is to be
    repeated later.
    """
    status = response.status_code
    if status == 429 or status >= 500:
        wait = _seconds(response.headers.get("Retry-After", ""))
        raise StoreUnavailable(f"The store answered {status}; try again later.", status, wait)
    return call.meaning(response)


def delay(attempt: int, error: StoreUnavailable) -> float:
    """Returns the seconds to wait after the failed attempt with this number, the first being 0.

    At least what the store asked for, and at random, so that clients do not come back together.
    """
    longest = min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** min(attempt, 10))
    return (error.retry_after or 0) + random.uniform(longest / 2, longest)  # noqa: S311


class Attempts:
    """Counts the attempts of one call."""

    def __init__(self, retries: int) -> None:
        self._left = retries
        self._made = 0

    def next_delay(self, error: StoreUnavailable) -> float:
        """Returns the seconds until the next attempt. Raises `error` if there is none."""
        if self._left == 0 or (error.retry_after or 0) > LONGEST_WAIT:
            raise error
        seconds = delay(self._made, error)
        self._left -= 1
        self._made += 1
        return seconds


def _seconds(header: str) -> float | None:
    """`Retry-After` in seconds: a number, or a date as some proxies send it."""
    if header.isascii() and header.isdigit():
        return float(header)
    try:
        when = parsedate_to_datetime(header)
    except (ValueError, OverflowError):  # such as a year of twenty digits
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=timezone.utc)
    return max(0.0, (when - datetime.now(timezone.utc)).total_seconds())
