"""The request that this thread works on: what its log lines, problems and metrics need to know.

`config.handler` begins and ends it. Outside of a request there is none.
"""

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any


class CurrentRequest:
    """Nothing of what a client has sent, but for an id that a trusted proxy has chosen."""

    __slots__ = ("bytes_in", "ended", "key_prefix", "request_id", "route")

    def __init__(self, request_id: str) -> None:
        self.request_id = request_id
        self.route = ""
        """The pattern of its address; empty if it has none of this project's. Paths have ids."""
        self.key_prefix = ""
        """The public part of a valid API key; empty if it has shown none."""
        self.bytes_in = 0
        """How much of its body was read."""
        self.ended = 0.0
        """When it ended, as `perf_counter` has it; 0 until then."""


_current: ContextVar[CurrentRequest | None] = ContextVar("current_request", default=None)

begin: Callable[[CurrentRequest], object] = _current.set
"""From now on this thread works on a request, until that has ended."""


def current_request() -> CurrentRequest | None:
    """The request that this thread works on, or None."""
    request = _current.get()
    return None if request is None or request.ended else request


def note_caller(key_prefix: str) -> None:
    """The request has shown a valid API key with this public part."""
    if request := _current.get():
        request.key_prefix = key_prefix


def note_read(size: int) -> None:
    """So many bytes of its body have been read."""
    if request := _current.get():
        request.bytes_in += size


def note_pattern(pattern: str) -> None:
    """The request has an address with this pattern."""
    if request := _current.get():
        request.route = pattern


def note_route(match: Any) -> None:
    """Django has resolved the address of the request, or has not: then `match` is None."""
    if match is not None and (request := _current.get()):
        request.route = str(match.route).strip("^$?")
