"""Django's SQLite engine with a connection pool, configured as for PostgreSQL: `OPTIONS["pool"]`.

`OPTIONS["pool"] = {"max_size": 5, "timeout": 30}` keeps at most `max_size` connections to
the file open in this process. A thread takes one when it first needs the database and
gives it back when Django closes the connection, at the end of a request. One that waits
longer than `timeout` seconds gets OperationalError.
"""

import os
import threading
from sqlite3 import OperationalError
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.db.backends.sqlite3 import base, creation
from sqlalchemy import exc, pool

_pools: dict[str, pool.QueuePool] = {}
_pools_lock = threading.Lock()
_parents_pools: list[Any] = []


class DatabaseCreation(creation.DatabaseCreation):
    """Deletes a test database only after its pooled connections are closed."""

    def _destroy_test_db(self, test_database_name: str, verbosity: int) -> None:
        close_pool(str(self.connection.settings_dict["NAME"]))
        super()._destroy_test_db(test_database_name, verbosity)  # type: ignore[misc]


class DatabaseWrapper(base.DatabaseWrapper):
    """One thread's view of the database: a connection borrowed from the pool."""

    creation_class = DatabaseCreation

    def __init__(self, settings_dict: dict[str, Any], alias: str = "default") -> None:
        super().__init__(settings_dict, alias)
        self._borrowed: pool.PoolProxiedConnection | None = None

    def get_connection_params(self) -> dict[str, Any]:
        """Django's parameters less `pool`, which SQLite does not know."""
        params = super().get_connection_params()
        params.pop("pool", None)
        return params

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        """Borrow a connection. In-memory databases bypass the pool: they live in theirs."""
        options = self.settings_dict["OPTIONS"].get("pool")
        if not options or self.is_in_memory_db():
            return super().get_new_connection(conn_params)
        if self.settings_dict["CONN_MAX_AGE"] != 0:
            raise ImproperlyConfigured("A SQLite connection pool needs CONN_MAX_AGE = 0.")
        open_connection = super().get_new_connection
        try:
            self._borrowed = _pool(conn_params, options, open_connection).connect()
        except exc.TimeoutError as error:
            raise OperationalError(
                f"All {options['max_size']} pooled connections were in use for "
                f"{options['timeout']} s. Close connections sooner, or raise max_size."
            ) from error
        return self._borrowed.dbapi_connection

    def _close(self) -> None:
        if self._borrowed is None:
            super()._close()  # type: ignore[misc]
            return
        borrowed, self._borrowed = self._borrowed, None
        with self.wrap_database_errors:
            try:
                # First: setting isolation_level to None commits what is open.
                self.connection.rollback()
                self.connection.isolation_level = None
            except BaseException:
                borrowed.invalidate()
                raise
            finally:
                borrowed.close()

    def forget(self) -> None:
        """Let go of a connection that belongs to the parent process, without touching it."""
        _parents_pools.append((self.connection, self._borrowed))
        self.connection = self._borrowed = None


def close_pool(database: str) -> None:
    """Close the pooled connections to this file that are not in use."""
    with _pools_lock:
        found = _pools.pop(database, None)
    if found is not None:
        found.dispose()


def _pool(params: dict[str, Any], options: dict[str, Any], open_connection: Any) -> pool.QueuePool:
    database = str(params["database"])
    with _pools_lock:
        if database not in _pools:
            _pools[database] = pool.QueuePool(
                lambda: open_connection(params),
                pool_size=options["max_size"],
                max_overflow=0,
                timeout=options["timeout"],
                use_lifo=True,  # a warm page cache first
                reset_on_return=None,  # _close has rolled back
            )
        return _pools[database]


def _forget_parent() -> None:
    """In a forked child: a SQLite connection must not be used, nor closed, by another process.

    https://sqlite.org/howtocorrupt.html#_carrying_an_open_database_across_a_fork_
    """
    global _pools_lock
    _pools_lock = threading.Lock()
    _parents_pools.append(dict(_pools))
    _pools.clear()
    for connection in connections.all(initialized_only=True):
        if isinstance(connection, DatabaseWrapper):
            connection.forget()


os.register_at_fork(after_in_child=_forget_parent)
