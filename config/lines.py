"""The lines of the log, as text or JSON. Every line of a request has its id.

An exception is logged by its class and the lines of code, and not by its message, which may quote
what a user wrote: only messages of this project and of the operating system are known not to.
"""

import functools
import logging
import time
import traceback
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import orjson

from chat.current import current_request
from config.watched import Watched
from storage.exceptions import StorageError

ACCESS = "chat.access"
"""The logger of requests that have ended."""

NO_ROUTE = "(none)"

TITLE = "Traceback (most recent call last):"

FRAMES = 40
"""The innermost calls of a traceback that are shown."""


class Lines(logging.Formatter):
    """A line of text for each record, and more lines for an exception."""

    def __init__(self) -> None:
        super().__init__("{asctime} {levelname} {name} {message}", style="{")

    def format(self, record: logging.LogRecord) -> str:
        """Return the line. Another handler's formatter may have left a traceback in the record."""
        record.exc_text = None
        return super().format(record)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  (the library's)
        """Add the id of the request."""
        line = super().formatMessage(record)
        request = current_request()
        return line if request is None else f"{line} [{request.request_id}]"

    def formatException(self, failure: Any) -> str:  # noqa: N802  (the library's)
        """The exception and its causes, without messages that may have personal data."""
        return in_lines(failure[1])

    def of_request(self, request: Watched, ended: float) -> str:
        """The line of a request that has ended then, in seconds since 1970."""
        moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(ended))
        return (
            f"{moment},{int(ended % 1 * 1000):03d} INFO {ACCESS} {request.method} "
            f"{request.route or NO_ROUTE} {request.status} {_milliseconds(request)} ms, "
            f"{request.bytes_in} bytes in, {request.bytes_out} out, "
            f"key {request.key_prefix or '-'} [{request.request_id}]\n"
        )


class JsonLines(Lines):
    """An object of JSON in one line for each record, with an exception as one of its strings."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        found = {
            "time": f"{_second(int(record.created))}.{int(record.created % 1 * 1000):03d}Z",
            "level": record.levelname,
            "logger": record.name,
            # Names of files can have what is no character. Standard error writes that in this way.
            "message": record.getMessage().encode(errors="backslashreplace").decode(),
        }
        if (request := current_request()) is not None:
            found["request_id"] = request.request_id
        if record.exc_info and record.exc_info[1] is not None:
            found["exception"] = in_lines(record.exc_info[1])
        return orjson.dumps(found).decode()

    def of_request(self, request: Watched, ended: float) -> str:
        """The line of a request that has ended then, in seconds since 1970."""
        # An id has no character that would have to be escaped.
        return (
            f'{{"time":"{_second(int(ended))}.{_THREE[int(ended % 1 * 1000)]}Z",'
            f"{_same(request.method, request.route, request.status, request.key_prefix)},"
            f'"request_id":"{request.request_id}","duration_ms":{_milliseconds(request)},'
            f'"bytes_in":{request.bytes_in},"bytes_out":{request.bytes_out}}}\n'
        )


_THREE = [f"{number:03d}" for number in range(1000)]
"""Digits after the point. To format a number takes 0.2 µs each time, and a line has two."""


def _milliseconds(request: Watched) -> str:
    """How long the request took, to the microsecond."""
    microseconds = int((request.ended - request.started) * 1e6)
    return f"{microseconds // 1000}.{_THREE[microseconds % 1000]}"


@functools.lru_cache(maxsize=8)
def _second(seconds: int) -> str:
    """RFC 3339 in UTC, without its end."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


@functools.lru_cache(maxsize=1024)
def _same(method: str, route: str, status: str, key: str) -> str:
    """What many lines have in common, as members of an object."""
    found = {
        "level": "INFO",
        "logger": ACCESS,
        "message": f"{method} {route or NO_ROUTE} {status}",
        "method": method,
        "route": route or NO_ROUTE,
        "status": int(status),
        "key": key or None,
    }
    return orjson.dumps(found)[1:-1].decode()


def write_lines(requests: Sequence[Watched]) -> None:
    """Write the lines of requests that have ended, in one piece.

    They go where the console's lines go. No record is made of them: that takes most of the time.
    """
    since = time.time() - time.perf_counter()  # a request has times of `perf_counter`
    for handler in logging.getLogger().handlers:
        formatter = handler.formatter
        if not (isinstance(handler, logging.StreamHandler) and isinstance(formatter, Lines)):
            continue
        line = formatter.of_request
        text = "".join([line(request, since + request.ended) for request in requests])
        handler.acquire()
        try:
            with suppress(OSError, ValueError):  # nobody reads it, or it is closed
                handler.stream.write(text)
                handler.flush()
        finally:
            handler.release()


def in_lines(error: BaseException) -> str:
    """A traceback, and those of its causes, without source and without unknown messages."""
    parts: list[str] = []
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        parts.insert(0, "\n".join([TITLE, *_calls(cause), _named(cause)]))
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    return "\n\nThis led to:\n\n".join(parts)


def _calls(error: BaseException) -> list[str]:
    codes = [(frame.f_code, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    return [
        f'  File "{code.co_filename}", line {line}, in {code.co_name}'
        for code, line in codes[-FRAMES:]
    ]


def _named(error: BaseException) -> str:
    name = f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins.")
    if isinstance(error, StorageError):
        return f"{name}: {error}"
    if isinstance(error, OSError) and error.strerror:
        return f"{name}: {error.strerror}"
    return f"{name} (its message is left out: it may quote a user)"
