"""The sliding window counter: how many of a quota are used at a time, from two counts.

The count of the window before weighs as much as the last WINDOW_MS still overlap it. What is
refused is not counted.
"""

from typing import NamedTuple, Protocol

WINDOW_MS = 60_000
"""The length of a window in milliseconds."""

WINDOW_SECONDS = WINDOW_MS // 1000


class Verdict(NamedTuple):
    """Whether a call is within its quota, and what is left of that."""

    allowed: bool
    remaining: int
    """Calls that are left now."""
    seconds: int
    """Whole seconds until there are more of them. At least 1."""


class Windows(Protocol):
    """Counts calls by the digest of who makes them. Thread-safe; no method raises."""

    def take(self, digest: bytes, quota: int) -> Verdict:
        """Count a call, unless `quota` calls have been made within the window."""

    def give_back(self, digest: bytes) -> None:
        """Take back the last call that was counted."""


def used(previous: int, current: int, passed_ms: int) -> int:
    """The calls that count, `passed_ms` milliseconds after the current window began."""
    return previous * (WINDOW_MS - passed_ms) // WINDOW_MS + current


def verdict(quota: int, previous: int, current: int, passed_ms: int, allowed: bool) -> Verdict:
    """The verdict when the window has these counts, the call included."""
    if not allowed:
        return Verdict(False, 0, _seconds(_wait_ms(quota, previous, current, passed_ms)))
    remaining = max(0, quota - used(previous, current, passed_ms))
    return Verdict(True, remaining, _seconds(WINDOW_MS - passed_ms))


def _wait_ms(quota: int, previous: int, current: int, passed_ms: int) -> int:
    """How long until one more call is within the quota, if nobody else makes it."""
    if current < quota:
        return _fades_at(previous, quota - current) - passed_ms
    return WINDOW_MS - passed_ms + _fades_at(current, quota)


def _fades_at(count: int, room: int) -> int:
    """When in the next window a count weighs less than `room`."""
    return max(0, WINDOW_MS - (room * WINDOW_MS - 1) // count) if count else 0


def _seconds(milliseconds: int) -> int:
    return max(1, -(-milliseconds // 1000))
