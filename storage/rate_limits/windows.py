"""The sliding window counter: how many of a quota are used at a time, from two counts.

The count of the window before weighs as much as the last WINDOW_MS still overlap it. What is
refused is not counted.
"""

from typing import NamedTuple, Protocol

WINDOW_MS = 60_000
"""The length of a window in milliseconds."""

WINDOW_SECONDS = WINDOW_MS // 1000

RESERVE = 20_000
"""More calls than servers answer before unused leases are given back, about a second later. Only
while so many are left are there leases: nobody is refused for calls that others have not made."""


class State(NamedTuple):
    """A client's counts in the window with this number, and in the one before."""

    window: int
    previous: int
    current: int

    def at(self, window: int) -> "State":
        """The same in a later window. What is from the future is over."""
        if self.window == window:
            return self
        return State(window, self.current if self.window == window - 1 else 0, 0)

    def without(self, calls: int, window: int) -> "State":
        """The same without so many calls of that window."""
        if window == self.window:
            return self._replace(current=max(0, self.current - calls))
        if window == self.window - 1:
            return self._replace(previous=max(0, self.previous - calls))
        return self

    def used(self, passed_ms: int) -> int:
        """How many calls count, so many milliseconds after the window began."""
        return self.previous * (WINDOW_MS - passed_ms) // WINDOW_MS + self.current


NOTHING = State(0, 0, 0)


class Request(NamedTuple):
    """What a process asks for."""

    digest: bytes
    """Whose calls they are."""
    quota: int
    wanted: int
    """How many calls, at most."""
    unused: int = 0
    """How many of those that were granted were not made,"""
    seen: State = NOTHING
    """and the state when they were granted. It stands for the client's state if that was lost."""


class Grant(NamedTuple):
    """How many calls are granted, and the state with them."""

    granted: int
    state: State
    passed_ms: int
    """How long the window has lasted."""


class Counts(Protocol):
    """The counts of calls that several processes share. Thread-safe; no method raises."""

    def take(self, request: Request) -> Grant | None:
        """Count calls: as many as are wanted, or one, or none; None if the counts are away."""


def granted(request: Request, used: int) -> int:
    """How many calls are granted if so many count."""
    if not request.wanted or used >= request.quota:
        return 0
    return request.wanted if used + request.wanted + RESERVE <= request.quota else 1


class Verdict(NamedTuple):
    """Whether a call is within its quota, and what is left of that."""

    allowed: bool
    remaining: int
    """Calls that are left; at times there are a few more."""
    seconds: int
    """Whole seconds until there are more of them. At least 1."""


def verdict(quota: int, grant: Grant) -> Verdict:
    """The verdict about the call for which this was granted."""
    if not grant.granted:
        return Verdict(False, 0, _seconds(_wait_ms(quota, grant)))
    remaining = max(0, quota - grant.state.used(grant.passed_ms))
    return Verdict(True, remaining, _seconds(WINDOW_MS - grant.passed_ms))


def _wait_ms(quota: int, grant: Grant) -> int:
    """How long until one more call is within the quota, if nobody else makes it."""
    _, previous, current = grant.state
    if current < quota:
        return _fades_at(previous, quota - current) - grant.passed_ms
    return WINDOW_MS - grant.passed_ms + _fades_at(current, quota)


def _fades_at(count: int, room: int) -> int:
    """When in the next window a count weighs less than `room`."""
    return max(0, WINDOW_MS - (room * WINDOW_MS - 1) // count) if count else 0


def _seconds(milliseconds: int) -> int:
    return max(1, -(-milliseconds // 1000))
