"""The lines of the log, as text or JSON. Every line of a request has its id.

An exception is logged by its class and the lines of code, and not by its message, which may quote
what a user wrote: only messages of this project and of the operating system are known not to.
"""

import logging
import time
import traceback
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

import orjson

from chat.current import current_request
from storage.exceptions import StorageError


class Lines(logging.Formatter):
    """A line of text for each record, and more lines for an exception."""

    def __init__(self) -> None:
        super().__init__("{asctime} {levelname} {name} {message}", style="{")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  (the library's)
        """Add the id of the request."""
        line = super().formatMessage(record)
        request = current_request()
        return line if request is None else f"{line} [{request.request_id}]"

    def formatException(self, failure: Any) -> str:  # noqa: N802  (the library's)
        """The exception and its causes, without messages that may have personal data."""
        return in_lines(failure[1])

    def of_request(self, ended: float, fields: Mapping[str, Any]) -> str:
        """The line of a request that has ended then, in seconds since 1970."""
        moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(ended))
        key = fields["key"] or "-"
        return (
            f"{moment},{int(ended % 1 * 1000):03d} INFO chat.access {fields['method']} "
            f"{fields['route']} {fields['status']} {fields['duration_ms']} ms, "
            f"{fields['bytes_in']} bytes in, {fields['bytes_out']} out, key {key} "
            f"[{fields['request_id']}]"
        )


class JsonLines(Lines):
    """An object of JSON in one line for each record, with an exception as one of its strings."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        found = _head(record.created, record.levelname, record.name, record.getMessage())
        if (request := current_request()) is not None:
            found["request_id"] = request.request_id
        if record.exc_info and record.exc_info[1] is not None:
            found["exception"] = in_lines(record.exc_info[1])
        return orjson.dumps(found, default=str).decode()

    def of_request(self, ended: float, fields: Mapping[str, Any]) -> str:
        """The line of a request that has ended then, in seconds since 1970."""
        message = f"{fields['method']} {fields['route']} {fields['status']}"
        found = _head(ended, "INFO", "chat.access", message)
        return orjson.dumps({**found, **fields}).decode()


def _head(created: float, level: str, logger: str, message: str) -> dict[str, Any]:
    return {"time": _moment(created), "level": level, "logger": logger, "message": message}


def _moment(seconds: float) -> str:
    """RFC 3339, in milliseconds, UTC."""
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{whole}.{int(seconds % 1 * 1000):03d}Z"


def write_lines(requests: Iterable[tuple[float, Mapping[str, Any]]]) -> None:
    """Write lines of requests that have ended, with the time when, in one piece.

    They go where the console's lines go. No record is made of them: that takes most of the time.
    """
    ended = list(requests)
    for handler in logging.getLogger().handlers:
        formatter = handler.formatter
        if not (isinstance(handler, logging.StreamHandler) and isinstance(formatter, Lines)):
            continue
        text = "".join(f"{formatter.of_request(when, fields)}\n" for when, fields in ended)
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


TITLE = "Traceback (most recent call last):"

FRAMES = 40
"""The innermost calls of a traceback that are shown."""


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
