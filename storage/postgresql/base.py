"""Django's PostgreSQL engine with psycopg's pool, such that no request waits long for a server.

psycopg's pool can check each connection before it lends it. That costs a round trip, and after a
restart of the server it waits 1, 2, 4 ... seconds between dead connections. Here a connection that
the server has closed is recognised by its socket, for nothing, and the next one is taken at once.
What reads is repeated once if the server ends in the middle of it.

What a session remembers (SET, LISTEN, locks of `pg_advisory_lock`) would reach the next user of its
connection. So nothing here uses any of that: only `SET LOCAL` and locks of a transaction.

Libpq and forks: a child that closes an inherited connection ends that of its parent. So the pool is
closed before a fork, and what another thread uses at that moment is only forgotten in the child.
"""

import os
from collections.abc import Callable
from typing import Any, ClassVar

import psycopg
from django.db import connections
from django.db.backends.postgresql import base
from django.db.utils import DatabaseErrorWrapper, OperationalError
from django.utils.functional import cached_property
from psycopg_pool import ConnectionPool, PoolTimeout

from storage.cache.breaker import CircuitBreaker
from storage.postgresql.answers import Lent, Unanswered
from storage.postgresql.sockets import was_closed
from storage.postgresql.url import WAIT_SECONDS

_parents: list[Any] = []
"""What belongs to the process that forked this one. To delete it would close it there."""


class FirstLine(DatabaseErrorWrapper):
    """Leaves out what follows the first line of an error: rows, and the statement with its values.

    They would be in logs and error reports.
    """

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        if isinstance(error, psycopg.Error) and error.args:
            error.args = (str(error).strip().partition("\n")[0],)
        super().__exit__(kind, error, traceback)


class DatabaseWrapper(base.DatabaseWrapper):
    """The database as one thread uses it: with a connection borrowed from the pool."""

    _connection_pools: ClassVar[dict[str, ConnectionPool[Lent]]] = {}

    def __init__(self, settings_dict: dict[str, Any], alias: str = "default") -> None:
        super().__init__(settings_dict, alias)
        self.execute_wrappers.append(_once_more)

    @classmethod
    def take_pools(cls) -> list[ConnectionPool[Lent]]:
        """Returns the pools of this process, which will make others when it needs some."""
        pools = cls._connection_pools
        return [pools.pop(alias) for alias in list(pools)]

    def get_new_connection(self, conn_params: dict[str, Any]) -> Lent:
        """Borrow a connection that the server has not closed.

        Raises psycopg's OperationalError after WAIT_SECONDS without one; and at once, for a second,
        if several threads have waited in vain.
        """
        if self.pool is None:
            return super().get_new_connection(conn_params)
        if not _breaker.admits():
            raise PoolTimeout("the server has not answered for a while; try again in a second")
        try:
            while was_closed(connection := super().get_new_connection(conn_params)):
                connection.close()
                self.pool.putconn(connection)  # which opens another one
        except BaseException:
            _breaker.failed()
            raise
        _breaker.succeeded()
        return connection

    def ensure_connection(self) -> None:
        """Have a connection that the server has not closed, as while a command did other things."""
        held = self.connection
        if held is not None and not self.in_atomic_block and was_closed(held):
            self.close()
        super().ensure_connection()

    @cached_property
    def wrap_database_errors(self) -> DatabaseErrorWrapper:
        """What turns psycopg's errors into Django's, without what they tell of rows."""
        return FirstLine(self)

    def forget(self) -> None:
        """Drop a connection that belongs to the parent process, without closing it."""
        _parents.append(self.connection)
        self.connection = None
        self.in_atomic_block = False
        self.savepoint_ids.clear()


def _once_more(
    execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]
) -> Any:
    """Wraps what Django's cursors execute: what reads is repeated if the server ended meanwhile."""
    connection, cursor = context["connection"], context["cursor"]
    try:
        return execute(sql, params, many, context)
    except OperationalError as error:
        if isinstance(error.__cause__, Unanswered):
            raise
        is_read = sql.startswith("SELECT") and not connection.in_atomic_block
        if not (is_read and isinstance(cursor.cursor, base.Cursor) and cursor.connection.closed):
            raise
    connection.close()
    connection.ensure_connection()
    cursor.cursor = connection.create_cursor()
    return execute(sql, params, many, context)


def close_pools() -> None:
    """Close all connections of this process that are not in use."""
    for connection in connections.all(initialized_only=True):
        if isinstance(connection, DatabaseWrapper) and not connection.in_atomic_block:
            connection.close()
    for pool in DatabaseWrapper.take_pools():
        pool.close()


def _forget_parent() -> None:
    global _breaker
    _breaker = CircuitBreaker(WAIT_SECONDS)
    _parents.append(DatabaseWrapper.take_pools())
    for connection in connections.all(initialized_only=True):
        if isinstance(connection, DatabaseWrapper):
            connection.forget()


_breaker = CircuitBreaker(WAIT_SECONDS)
os.register_at_fork(before=close_pools, after_in_child=_forget_parent)
