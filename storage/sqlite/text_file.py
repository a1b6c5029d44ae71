"""The file of the search index, beside the database. It can be deleted at any time.

It is a file of its own because the first deletion under `secure-delete` makes it unreadable for
SQLite before 3.42, which other programs have, and because it can be built again from what is
stored: no backup needs it, and damage to it is no damage.
"""

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from storage.archive import durable
from storage.sqlite import modes
from storage.sqlite.checkpoints import truncated
from storage.sqlite.library import has_wal_reset_bug
from storage.sqlite.text_damage import is_damage
from storage.sqlite.text_state import Contents, State, emptied, state_in

SUFFIX = ".search"

FIRST_VERSION = (3, 42, 0)
"""Of SQLite with `secure-delete` in FTS5."""

IDLE_CONNECTIONS = 2

BUSY_MS = 5_000
"""How long a connection waits elsewhere, as while another one recovers the log."""

ASK_SECONDS = 0.005
"""How long who waits to write sleeps. Who makes passes pauses for longer (`text_thread`)."""

_PRAGMAS = (
    "PRAGMA journal_mode=WAL;PRAGMA synchronous=FULL;PRAGMA secure_delete=ON;"
    "PRAGMA journal_size_limit=67108864;PRAGMA wal_autocheckpoint=4000"
)
"""As of the database. With SQLite's own 1,000 pages, which two passes fill, the same pages are
copied from the log more often: indexing a row took 1.07 times as long.
"""


class IndexFile:
    """The index of one database. Threads share one; a forked child begins with no connections."""

    def __init__(self, database: str) -> None:
        self._database = database
        self.path = Path(f"{os.path.realpath(database)}{SUFFIX}")
        self._lock = threading.Lock()
        self._idle: list[tuple[Any, tuple[int, int]]] = []
        self._lent = 0
        self._process = os.getpid()

    def exists(self) -> bool:
        """Whether there is one."""
        return self.path.exists()

    @contextmanager
    def reading(self) -> Iterator[Contents | None]:
        """A snapshot of the index; None if there is none, or one of another format."""
        if not self.exists():
            yield None
            return
        with self._connection() as connection, _ended(connection):
            connection.execute("BEGIN")
            state = state_in(connection)
            yield None if state is None else Contents(connection, state)

    @contextmanager
    def writing(self, seconds: float, *, anew: Callable[[State], bool]) -> Iterator[Contents]:
        """The index, to be changed by nobody else. It is committed at the end of the block.

        It is emptied first if `anew` says so of its state, or if it has another format. Raises
        sqlite3.OperationalError if another process changes it for longer than `seconds`.
        """
        with self._connection() as connection, _ended(connection):
            _begin(connection, seconds)
            state = state_in(connection)
            if state is None or anew(state):
                state = emptied(connection)
            yield Contents(connection, state)
            connection.execute("COMMIT")

    def value(self, pragma: str) -> int:
        """The value of a pragma."""
        with self._connection() as connection:
            ((value,),) = connection.execute(f"PRAGMA {pragma}").fetchall()
            return int(value)

    def is_log_emptied(self) -> bool:
        """Copy the log into the file and truncate it, if nobody is in the way of that."""
        with self._connection() as connection:
            return truncated(lambda sql: list(connection.execute(sql)))

    def remove(self) -> None:
        """Delete the file. Who has it open finds out at the next use."""
        self.close()
        durable.remove(self.path, *(Path(f"{self.path}{end}") for end in modes.SIDE_FILES))

    def close(self) -> None:
        """Close the connections that are not in use."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection, _ in idle:
            connection.close()

    @contextmanager
    def _connection(self) -> Iterator[Any]:
        borrowed = self._borrowed()
        try:
            yield borrowed[0]
        except sqlite3.DatabaseError as error:
            if is_damage(error):
                self.remove()
            raise
        finally:
            with self._lock:
                self._lent -= 1
                keep = len(self._idle) < IDLE_CONNECTIONS and not borrowed[0].in_transaction
                if keep:
                    self._idle.append(borrowed)
            if not keep:
                borrowed[0].close()

    def _borrowed(self) -> tuple[Any, tuple[int, int]]:
        self._begin_in_child()
        with self._lock:
            self._lent += 1
            try:
                while self._idle:
                    connection, identity = self._idle.pop()
                    if identity == _identity(self.path):
                        return connection, identity
                    connection.close()  # the file was deleted, or replaced
                return self._opened()
            except BaseException:
                self._lent -= 1
                raise

    def _opened(self) -> tuple[Any, tuple[int, int]]:
        if not self.exists():
            os.close(modes.open_lock(self._database, SUFFIX))  # with the mode of the database
        connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        try:
            connection.executescript(_PRAGMAS)
            identity = _identity(self.path)
            if identity is None:
                raise sqlite3.OperationalError("the search index was deleted at this moment")
            return connection, identity
        except BaseException as error:
            connection.close()
            if isinstance(error, sqlite3.DatabaseError) and is_damage(error):
                with suppress(OSError):
                    self.path.unlink()
            raise

    def _begin_in_child(self) -> None:
        """A forked child must not use a file that a thread of its parent was using at the fork."""
        if os.getpid() == self._process:
            return
        if self._lent or self._idle:
            raise sqlite3.OperationalError("the search index was in use when this process forked")
        self._lock, self._process = threading.Lock(), os.getpid()


def missing_feature() -> str | None:
    """Why this SQLite library cannot keep the index, or None."""
    version = sqlite3.sqlite_version_info
    if version < FIRST_VERSION or has_wal_reset_bug(version):
        return f"SQLite {sqlite3.sqlite_version} would leave deleted words in it, or may damage it"
    with closing(sqlite3.connect(":memory:")) as connection:
        try:
            connection.execute("CREATE VIRTUAL TABLE probe USING fts5(words)")
        except sqlite3.OperationalError as error:
            return str(error)
    return None


def _begin(connection: Any, seconds: float) -> None:
    """Begin to write. Asks every few milliseconds, and so comes between passes of others.

    SQLite's busy handler asks ten times a second, and one that makes passes pauses for less.
    """
    end = time.monotonic() + seconds
    connection.execute("PRAGMA busy_timeout = 0")
    try:
        while not _has_begun(connection, is_last=time.monotonic() >= end):
            time.sleep(ASK_SECONDS)
    finally:
        connection.execute(f"PRAGMA busy_timeout = {BUSY_MS}")


def _has_begun(connection: Any, *, is_last: bool) -> bool:
    try:
        connection.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as error:
        if is_last or error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
            raise
        return False
    return True


@contextmanager
def _ended(connection: Any) -> Iterator[None]:
    try:
        yield
    finally:
        if connection.in_transaction:
            with suppress(sqlite3.Error):
                connection.execute("ROLLBACK")


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
