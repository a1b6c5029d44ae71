"""Counts the statements of all SQLite connections of this process, Django's and the storage's."""

import functools
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import config  # noqa: F401  (before sqlite3)

_seen: list[str] = []


def watch() -> None:
    """Count what is run on connections that are opened from now on."""
    connect = sqlite3.connect

    def watched(*arguments: Any, **options: Any) -> Any:
        options.setdefault("factory", _connection())
        return connect(*arguments, **options)

    for module in (sqlite3, sqlite3.dbapi2):
        setattr(module, "connect", watched)  # noqa: B010  (mypy takes it for a constant)


@contextmanager
def seen() -> Iterator[list[str]]:
    """What is run in the block, and in other threads meanwhile."""
    found: list[str] = []
    _seen.clear()
    yield found
    found += _seen


@functools.cache
def _connection() -> Any:
    class Connection(sqlite3.Connection):
        """`execute` of a connection asks for a cursor, too."""

        def cursor(self, factory: Any = sqlite3.Cursor) -> Any:
            return super().cursor(_counting(factory))

    return Connection


@functools.cache
def _counting(factory: Any) -> Any:
    class Cursor(factory):  # type: ignore[misc]
        def execute(self, sql: str, *parameters: Any) -> Any:
            _seen.append(sql)
            return super().execute(sql, *parameters)

        def executemany(self, sql: str, *parameters: Any) -> Any:
            _seen.append(sql)
            return super().executemany(sql, *parameters)

    return Cursor
