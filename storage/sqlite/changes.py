"""Detects changes of a SQLite database, for `storage.cache.in_memory`."""

import threading
import uuid
from sqlite3 import Connection, Error, connect

from django.db import DatabaseError, connections

from storage.sql_errors import translate
from storage.sqlite.statements import Statements


class Changes:
    """Reads `PRAGMA data_version`: https://sqlite.org/pragma.html#pragma_data_version.

    Its value changes with every commit of any other connection, in this process or another. So one
    connection outside the pool does nothing but read it.
    """

    def __init__(self, statements: Statements) -> None:
        self._statements = statements
        self._lock = threading.Lock()
        self._idle: Connection | None = None
        self._opened = ""

    def version(self) -> str | None:
        """See `storage.cache.in_memory.Changes.version`."""
        connection = connections[self._statements.alias].connection  # not opened for this
        if connection is not None and connection.in_transaction:
            return None
        with self._lock:  # the number means nothing without the connection that it is from
            number = self._idle_pragma("data_version")
            return f"{self._opened}.{number}"

    def of_others(self) -> int | None:
        """See `storage.cache.in_memory.Changes.of_others`."""
        try:
            connection = self._statements.connection().connection
            if connection.in_transaction:
                return None
            (number,) = connection.execute("PRAGMA data_version").fetchone()
        except (Error, DatabaseError) as error:
            raise translate(error) from error
        return int(number)

    def erasures(self) -> int:
        """See `storage.cache.in_memory.Changes.erasures`; `count_erasure` increments it."""
        with self._lock:
            return self._idle_pragma("user_version")

    def close(self) -> None:
        """Close the connection. The next call opens another, with new versions."""
        with self._lock:
            if self._idle is not None:
                self._idle.close()
                self._idle = None

    def _idle_pragma(self, pragma: str) -> int:
        try:
            if self._idle is None:
                self._idle = self._open()
            (number,) = self._idle.execute(f"PRAGMA {pragma}").fetchone()
        except Error as error:
            raise translate(error) from error
        return int(number)

    def _open(self) -> Connection:
        self._opened = uuid.uuid4().hex
        parameters = connections[self._statements.alias].get_connection_params()
        return connect(parameters["database"], uri=True, check_same_thread=False, timeout=20)


def count_erasure(statements: Statements) -> None:
    """Make all processes clear their memory cache. Call it in the transaction of an erasure."""
    (count,) = statements.rows("PRAGMA user_version", {})[0]
    statements.rows(f"PRAGMA user_version = {(count + 1) % 2**31}", {})
