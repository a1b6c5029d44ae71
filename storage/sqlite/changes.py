"""Whether a SQLite database has changed, as `storage.cache.in_memory` asks."""

import threading
import uuid
from sqlite3 import Connection, Error, connect

from django.db import DatabaseError, connections

from storage.sql_errors import translate
from storage.sqlite.statements import Statements


class Changes:
    """Tells by `PRAGMA data_version`: https://sqlite.org/pragma.html#pragma_data_version.

    On a connection that only looks, it changes with every commit of any other connection, of this
    process or another. So there is one idle connection besides the pool.
    """

    def __init__(self, statements: Statements) -> None:
        self._statements = statements
        self._lock = threading.Lock()
        self._idle: Connection | None = None
        self._opened = ""

    def version(self) -> str | None:
        """Changes with every commit. None within a transaction, which may see what is its own."""
        connection = connections[self._statements.alias].connection  # not opened for a look
        if connection is not None and connection.in_transaction:
            return None
        number = self._idle_pragma("data_version")
        return f"{self._opened}.{number}"

    def of_others(self) -> int | None:
        """Changes with every commit but those of this thread's connection. None as above."""
        try:
            connection = self._statements.connection().connection
            if connection.in_transaction:
                return None
            (number,) = connection.execute("PRAGMA data_version").fetchone()
        except (Error, DatabaseError) as error:
            raise translate(error) from error
        return int(number)

    def erasures(self) -> int:
        """Changes with every erasure of a user (`count_erasure`)."""
        return self._idle_pragma("user_version")

    def close(self) -> None:
        """Close the idle connection. The next look opens another, whose versions are new ones."""
        with self._lock:
            if self._idle is not None:
                self._idle.close()
                self._idle = None

    def _idle_pragma(self, pragma: str) -> int:
        with self._lock:
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
    """Tell all processes, within a transaction, that a user is being erased: memory must forget."""
    (count,) = statements.rows("PRAGMA user_version", {})[0]
    statements.rows(f"PRAGMA user_version = {(count + 1) % 2**31}", {})
