"""Django's SQLite engine with a connection pool, configured as for PostgreSQL: `OPTIONS["pool"]`.

`OPTIONS["pool"] = {"max_size": 5, "timeout": 30}` keeps at most `max_size` connections to the file
open in this process, besides the one that commits (`storage.sqlite.writer`). A thread borrows one
for a statement (`storage.sqlite.statements`). Django's own cursors keep theirs until Django closes
the connection at the end of a request. A thread that waits longer than `timeout` seconds gets
OperationalError.

Before a thread writes, it waits for its turn (`storage.sqlite.turns`), and holds no connection
meanwhile. So reads go on while another process has SQLite's write lock.

SQLite and forks: SQLite keeps in memory which locks its process holds on a file. A forked child
inherits that memory but not the locks. It would take no lock itself, and its parent, believing to
be the last user, would delete the log to which the child writes. So every idle connection is closed
before a fork. If another thread is using a connection at that moment, the child may not use the
database, because what it commits could be lost.
https://sqlite.org/howtocorrupt.html#_carrying_an_open_database_across_a_fork_
"""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from sqlite3 import Connection, Error, OperationalError
from typing import Any, Protocol
from weakref import WeakSet

from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.db.backends.sqlite3 import base, creation
from django.db.utils import DatabaseErrorWrapper

from storage.sql.errors import without_text
from storage.sqlite import in_use, modes, turns
from storage.sqlite.open_files import OpenFiles
from storage.sqlite.pool import Pool
from storage.sqlite.writer import Writer

SQLITE_WAITS_SECONDS = 5.0
"""Python's default for `OPTIONS["timeout"]`: how long a writer waits for others."""

HARMLESS = ("SELECT", "PRAGMA", "EXPLAIN", "SAVEPOINT", "RELEASE", "ROLLBACK")
"""How statements begin that take no write lock."""


class Closable(Protocol):
    """Has a connection to a SQLite file outside the pool."""

    def close(self) -> None:
        """Close the connection. The next use opens it again."""


_pools: dict[str, Pool] = {}
_open_files: dict[str, OpenFiles] = {}
_pools_lock = threading.Lock()
_parents: list[Any] = []
_in_use_at_fork: set[str] = set()
_closed_before_fork: "WeakSet[Closable]" = WeakSet()


class DatabaseCreation(creation.DatabaseCreation):
    """Deletes a test database only after its pooled connections are closed."""

    def _destroy_test_db(self, test_database_name: str, verbosity: int) -> None:
        close_pool(str(self.connection.settings_dict["NAME"]))
        super()._destroy_test_db(test_database_name, verbosity)  # type: ignore[misc]


class Loan:
    """A connection that a thread holds. It ends by `end`, or when nothing refers to it."""

    def __init__(self, pool: Pool, connection: Connection) -> None:
        self._pool = pool
        self.connection: Connection | None = connection

    def end(self) -> None:
        """Give the connection back. Ending it again does nothing."""
        connection, self.connection = self.connection, None
        if connection is not None:
            self._pool.give_back(connection)

    __del__ = end


class _WithoutTexts(DatabaseErrorWrapper):
    """Raises Django's errors. Neither they nor their causes quote what is stored: see `QUOTED`."""

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        if isinstance(error, Error):
            error.args = tuple(without_text(str(part)) for part in error.args)
        super().__exit__(kind, error, traceback)


class DatabaseWrapper(base.DatabaseWrapper):
    """The database as one thread uses it: with a connection borrowed from the pool."""

    creation_class = DatabaseCreation

    def __init__(self, settings_dict: dict[str, Any], alias: str = "default") -> None:
        super().__init__(settings_dict, alias)
        self._loan: Loan | None = None
        self._turn: turns.Turn | None = None
        self.execute_wrappers.append(_in_turn)

    @cached_property
    def wrap_database_errors(self) -> DatabaseErrorWrapper:
        """In a block of this, errors of sqlite3 become those of Django."""
        return _WithoutTexts(self)

    def get_connection_params(self) -> dict[str, Any]:
        """Returns Django's parameters without `pool`, which SQLite does not know.

        Also registers this process as a user of the file (`storage.sqlite.in_use`).
        """
        params = super().get_connection_params()
        params.pop("pool", None)
        if not self.is_in_memory_db():
            in_use.hold(str(params["database"]))
        return params

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        """Borrow a connection. An in-memory database needs its own one, outside the pool."""
        pool = self.pool
        if pool is None:
            return super().get_new_connection(conn_params)
        if self.settings_dict["CONN_MAX_AGE"] != 0:
            raise ImproperlyConfigured("A SQLite connection pool needs CONN_MAX_AGE = 0.")
        connection = pool.borrow(self.open)
        self._loan = Loan(pool, connection)
        return connection

    @property
    def pool(self) -> Pool | None:
        """The pool of this process for the database, or None if it has none.

        Raises OperationalError in a forked child that may not use the database.
        """
        found = _pools.get(self.settings_dict["NAME"])
        if found is not None:
            return found
        options = self.settings_dict["OPTIONS"].get("pool")
        if not options or self.is_in_memory_db():
            return None
        return _new_pool(str(self.settings_dict["NAME"]), options, self._timeout)

    def open(self) -> Connection:
        """Returns a new connection, of which the pool's open files take note."""
        params = self.get_connection_params()
        files = _open_files[str(params["database"])]
        files.opening()
        connection: Connection = super().get_new_connection(params)
        try:
            connection.isolation_level = None
            connection.execute("PRAGMA user_version").fetchone()  # a first read opens the log
            files.opened()
        except BaseException:
            connection.close()
            raise
        return connection

    def let_go(self) -> None:
        """Give back a connection that this thread holds without need: outside a transaction."""
        if self.connection is not None and self.shares_commits:
            self.close()

    @property
    def shares_commits(self) -> bool:
        """Whether what this thread writes may be committed with what others write."""
        if self.connection is None:
            return not self.in_atomic_block and self.pool is not None
        return (
            self.autocommit
            and not self.in_atomic_block
            and not self.connection.in_transaction
            and self._loan is not None
        )

    def run_on(self, connection: Connection, work: Callable[[], Any]) -> Any:
        """Returns the result of `work`, whose statements run on this connection.

        It is in a transaction, which `work` leaves open.
        """
        held, self.connection = self.connection, connection
        self.in_atomic_block = True
        try:
            return work()
        finally:
            self.connection, self.in_atomic_block, self.needs_rollback = held, False, False

    def _close(self) -> None:
        try:
            if self._loan is None:
                super()._close()  # type: ignore[misc]
                return
            loan, self._loan = self._loan, None
            with self.wrap_database_errors:
                loan.end()
        finally:
            self._end_turn()

    def _commit(self) -> None:
        super()._commit()  # type: ignore[misc]
        self._end_turn()
        self.check_files()

    def _rollback(self) -> None:
        super()._rollback()  # type: ignore[misc]
        self._end_turn()

    def check_files(self) -> None:
        """Raise OperationalError if what this connection saves would be lost.

        Call it when something was saved outside `atomic`, before that is acknowledged.
        """
        pool = self.pool
        if pool is not None:
            with self.wrap_database_errors:
                pool.files.check()

    def in_transaction(self) -> bool:
        """Whether this thread has an open transaction, by `atomic` or otherwise."""
        return self.connection is not None and self.connection.in_transaction

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Statements in this block may write, or begin a transaction, which then has the turn.

        Raises OperationalError if the turn does not come within `OPTIONS["timeout"]` seconds. The
        time in line counts: SQLite waits for other processes for the rest of it only.
        """
        if self.in_atomic_block or self._turn or self.in_transaction() or self.is_in_memory_db():
            yield
            return
        turn = turns.turn(str(self.settings_dict["NAME"]))
        try:
            waited = self._wait_for(turn)
            self._turn = turn
            if waited:
                self._set_busy_timeout(max(self._timeout - waited, 0))
            try:
                yield
            finally:
                if waited and self.connection is not None:
                    self._set_busy_timeout(self._timeout)
        finally:
            if not self.in_transaction():
                turn.end()
                self._turn = None

    @property
    def _timeout(self) -> float:
        return float(self.settings_dict["OPTIONS"].get("timeout", SQLITE_WAITS_SECONDS))

    def _wait_for(self, turn: turns.Turn) -> float:
        """Wait until a turn comes; returns for how many seconds."""
        with self.wrap_database_errors:
            if turn.come(0):
                return 0
            started = time.monotonic()
            if self.autocommit:  # otherwise a new connection would not be as this one
                self.close()
            if turn.come(self._timeout):
                return time.monotonic() - started
            turn.end()
            raise OperationalError(f"database is locked: other writers took {self._timeout:g} s")

    def _set_busy_timeout(self, seconds: float) -> None:
        self.ensure_connection()
        with self.wrap_database_errors:
            self.connection.execute(f"PRAGMA busy_timeout = {int(seconds * 1000)}")

    def _end_turn(self) -> None:
        if self._turn is not None:
            self._turn.end()
            self._turn = None

    def forget(self) -> None:
        """Drop a connection that belongs to the parent process, without closing it."""
        _parents.append((self.connection, self._loan))
        self.connection = self._loan = self._turn = None


def _in_turn(
    execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]
) -> Any:
    """Wraps what Django's cursors execute: a statement that may write waits for its turn."""
    if sql[:16].lstrip().upper().startswith(HARMLESS):
        return execute(sql, params, many, context)
    connection, cursor = context["connection"], context["cursor"]
    with connection.writing():
        connection.ensure_connection()
        if cursor.cursor.connection is not connection.connection:  # returned to the pool meanwhile
            cursor.cursor = connection.create_cursor()
        return execute(sql, params, many, context)


def close_pool(database: str) -> None:
    """Close the pooled connections to this file that are not in use."""
    with _pools_lock:
        found = _pools.pop(database, None)
        _open_files.pop(database, None)
    if found is not None:
        found.close_idle()
        found.writer.close()


def _new_pool(database: str, options: dict[str, Any], timeout: float) -> Pool:
    if database in _in_use_at_fork:
        raise OperationalError(
            "This process was forked while a thread was using the database, so it must not use it. "
            "Start processes with the 'spawn' method, or fork before starting threads."
        )
    with _pools_lock:
        if database not in _pools:
            modes.tighten_database(database)
            files = _open_files.setdefault(database, OpenFiles(database))
            writer = Writer(database, timeout, files)
            _pools[database] = Pool(options["max_size"], options["timeout"], files, writer)
        return _pools[database]


def close_before_fork(holder: Closable) -> None:
    """Close the connection of `holder` before each fork."""
    _closed_before_fork.add(holder)


def close_idle_connections() -> None:
    """Close all connections of this process that are not in use."""
    for connection in connections.all(initialized_only=True):
        if isinstance(connection, DatabaseWrapper) and not connection.in_transaction():
            connection.close()
    for found in list(_pools.values()):
        found.close_idle()
        found.writer.close()
    for holder in list(_closed_before_fork):
        holder.close()


def _forget_parent() -> None:
    global _pools_lock
    _pools_lock = threading.Lock()
    _in_use_at_fork.update(
        name for name, found in _pools.items() if found.open or found.writer.is_open
    )
    _parents.append(dict(_pools))
    _pools.clear()
    for files in _open_files.values():
        files.forget_connections()
    turns.forget()
    for connection in connections.all(initialized_only=True):
        if isinstance(connection, DatabaseWrapper):
            connection.forget()


os.register_at_fork(before=close_idle_connections, after_in_child=_forget_parent)
