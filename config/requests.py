"""What is counted and logged of requests that have ended.

A thread writes it some tenths of a second later, for many requests at once: a line that is logged
at once takes 15 µs, a quarter of a read by id. A process that is killed (SIGKILL) loses the lines
of that moment. Lines of errors are written at once, by `logging`.
"""

import logging
import threading
from collections import deque

from config.lines import ACCESS, NO_ROUTE, write_lines
from config.watched import Watched
from storage.telemetry.histograms import Histogram

logger = logging.getLogger(ACCESS)

MOST_WAITING = 2000
"""Requests after which whoever ends the next one writes them. So if standard error is blocked, all
wait for it, as they would with any log.
"""

PROBES = ("healthz", "readyz")
"""Load balancers ask for these every second or so: only failures are logged."""

REQUESTS = Histogram(
    "chat_http_request_duration_seconds",
    "Requests by method, route (the pattern of the address; `(none)` if it has none) and status, "
    "from their headers to the last byte that was handed to the server.",
    ["method", "route", "status"],
    (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)

_ended: deque[Watched] = deque()
_writing = threading.Lock()


def end(request: Watched, bytes_out: int) -> None:
    """The request has been answered, with so many bytes after the headers."""
    request.end(bytes_out)
    _ended.append(request)
    if len(_ended) > MOST_WAITING:
        write()


def write() -> None:
    """Count and log what has ended."""
    if not _ended:
        return
    with _writing:
        ended = [_ended.popleft() for _ in range(len(_ended))]
        REQUESTS.waiting.extend(
            [
                ((one.method, one.route or NO_ROUTE, one.status), one.ended - one.started)
                for one in ended
            ]
        )
        REQUESTS.add_up()
        if logger.isEnabledFor(logging.INFO):
            write_lines([request for request in ended if _is_shown(request)])


def _is_shown(request: Watched) -> bool:
    return request.route not in PROBES or request.status >= "400"
