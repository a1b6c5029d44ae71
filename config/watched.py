"""A request as it is watched: its id, how it ended, and how long that took.

The cost is measured by `benchmarks/watching.py`: a read by id takes some 60 µs.
"""

import re
from collections.abc import Callable
from time import perf_counter
from typing import Any

from uuid_utils import uuid4

from chat.api.addresses import is_from_proxies
from chat.current import CurrentRequest, begin

HEADER = "X-Request-ID"

GIVEN_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
"""Ids that are taken over: no character that could end a line, or begin another field, in a log."""

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""A client can send any other word, too."""


class Watched(CurrentRequest):
    """A request from its beginning to its end. `start_response` is what it is answered with."""

    __slots__ = ("_start", "bytes_out", "method", "started", "status")

    def __init__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> None:
        self.started = perf_counter()
        given = "HTTP_X_REQUEST_ID" in environ and _given_id(environ)
        self.request_id = given or str(uuid4())
        self.route = self.key_prefix = ""
        self.bytes_in = self.bytes_out = 0
        self.status = "0"
        """Three digits, once it is answered: text, as labels and lines want it."""
        method = environ["REQUEST_METHOD"]
        self.method: str = method if method in METHODS else "OTHER"
        self.ended = 0.0
        self._start: Callable[..., Any] | None = start_response
        begin(self)

    def start_response(self, status: str, headers: list[tuple[str, str]], *error: Any) -> Any:
        """As WSGI has it. Adds the id to the headers."""
        assert self._start is not None, "It has ended."
        self.status = status[:3]
        headers.append((HEADER, self.request_id))
        return self._start(status, headers, *error)

    def end(self, bytes_out: int) -> None:
        """It has been answered, with so many bytes after the headers."""
        self.bytes_out = bytes_out
        self._start = None  # which keeps what the server has of the request
        self.ended = perf_counter()


def _given_id(environ: dict[str, Any]) -> str:
    """The id that a trusted proxy has sent; empty if there is none, or none that can be logged."""
    given: str = environ["HTTP_X_REQUEST_ID"]
    return given if is_from_proxies(environ) and GIVEN_ID.fullmatch(given) else ""
