"""Whether a SQLite database has changed since it was last looked at."""

import threading
import uuid
from collections.abc import Callable
from sqlite3 import Connection


class DataVersion:
    """Tells it through one idle connection of its own, by `PRAGMA data_version`.

    That changes whenever any other connection, of this process or another, has committed.
    https://sqlite.org/pragma.html#pragma_data_version
    """

    def __init__(self, connect: Callable[[], Connection]) -> None:
        self._connect = connect
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self._opened = ""

    def current(self) -> str:
        """A string that changes with every commit to the database. Raises sqlite3.Error."""
        with self._lock:
            number = self._number("data_version")
            return f"{self._opened}.{number}"

    def erasures(self) -> int:
        """How often anything of a user was erased from the database. Raises sqlite3.Error."""
        with self._lock:
            return self._number("user_version")

    def _number(self, pragma: str) -> int:
        if self._connection is None:
            self._connection = self._connect()
            self._opened = uuid.uuid4().hex
        (number,) = self._connection.execute(f"PRAGMA {pragma}").fetchone()
        return int(number)

    def close(self) -> None:
        """Close the connection; the next look opens another, whose versions are new ones."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None
