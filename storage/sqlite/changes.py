"""Whether a SQLite database has changed, as `storage.cache.in_memory` asks."""

import threading
import uuid
from sqlite3 import Connection, connect

from django.db import connections

from storage.sql_errors import translated
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
        if self._statements.in_transaction():
            return None
        with self._lock, translated:
            number = self._number("data_version")
            return f"{self._opened}.{number}"

    def of_others(self) -> int | None:
        """Changes with every commit but those of this thread's connection. None as above."""
        with translated:
            row = self._statements.row_outside_transaction("PRAGMA data_version")
        return None if row is None else int(row[0])

    def erasures(self) -> int:
        """Changes with every erasure of a user (`count_erasure`)."""
        with self._lock, translated:
            return self._number("user_version")

    def close(self) -> None:
        """Close the idle connection. The next look opens another, whose versions are new ones."""
        with self._lock:
            if self._idle is not None:
                self._idle.close()
                self._idle = None

    def _number(self, pragma: str) -> int:
        if self._idle is None:
            parameters = connections[self._statements.alias].get_connection_params()
            self._idle = connect(
                parameters["database"], uri=True, check_same_thread=False, timeout=20
            )
            self._opened = uuid.uuid4().hex
        (number,) = self._idle.execute(f"PRAGMA {pragma}").fetchone()
        return int(number)


def count_erasure(statements: Statements) -> None:
    """Tell all processes, within a transaction, that a user is being erased: memory must forget."""
    (count,) = statements.rows("PRAGMA user_version", {})[0]
    statements.rows(f"PRAGMA user_version = {(count + 1) % 2**31}", {})
