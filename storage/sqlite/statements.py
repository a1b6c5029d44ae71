"""Runs SQL statements on the connection of the calling thread."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from django.db import connections


class Statements:
    """Runs statements without Django's cursors, which take more time than SQLite itself."""

    def __init__(self, alias: str) -> None:
        self.alias = alias

    def rows(self, sql: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """Run a statement; returns all its rows."""
        connection = self._connection()
        with connection.wrap_database_errors:
            rows: list[tuple[Any, ...]] = connection.connection.execute(sql, parameters).fetchall()
        return rows

    def changed(self, sql: str, parameters: Mapping[str, Any]) -> int:
        """Run a statement; returns how many rows it changed."""
        connection = self._connection()
        with connection.wrap_database_errors:
            return int(connection.connection.execute(sql, parameters).rowcount)

    def row_outside_transaction(self, sql: str) -> tuple[Any, ...] | None:
        """Run a statement; returns its one row. In a transaction, returns None and runs nothing."""
        connection = self._connection()
        if connection.connection.in_transaction:
            return None
        with connection.wrap_database_errors:
            row: tuple[Any, ...] = connection.connection.execute(sql).fetchone()
        return row

    def tables(self) -> list[str]:
        """Returns the names of all tables."""
        return connections[self.alias].introspection.table_names()

    def in_transaction(self) -> bool:
        """Whether the connection is in a transaction."""
        connection = connections[self.alias].connection
        return connection is not None and connection.in_transaction

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Reads inside see the same state. Django's `atomic` would lock the file for writing."""
        if self.in_transaction():
            yield
            return
        self.rows("BEGIN", {})
        try:
            yield
        finally:
            self.rows("COMMIT", {})

    def _connection(self) -> Any:
        """The open connection of this thread."""
        connection: Any = connections[self.alias]
        if connection.connection is None:
            connection.ensure_connection()
        return connection
