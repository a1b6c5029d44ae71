"""Runs SQL statements on the connection of the calling thread."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from typing import Any

from django.db import connections


class Statements:
    """Runs statements without Django's cursors, which take more time than SQLite itself."""

    def __init__(self, alias: str) -> None:
        self.alias = alias

    def rows(self, sql: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """Run a statement; returns all its rows."""
        connection = self.connection()
        with connection.wrap_database_errors:
            rows: list[tuple[Any, ...]] = connection.connection.execute(sql, parameters).fetchall()
        return rows

    @contextmanager
    def cursor(self, sql: str, parameters: Mapping[str, Any]) -> Iterator[Any]:
        """Run a statement, whose rows are then read one by one."""
        connection = self.connection()
        with (
            connection.wrap_database_errors,
            closing(connection.connection.execute(sql, parameters)) as cursor,
        ):
            yield cursor

    def write(self, sql: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """As `rows`, for a statement that writes."""
        with self.writing():
            return self.rows(sql, parameters)

    def changed(self, sql: str, parameters: Mapping[str, Any]) -> int:
        """Run a statement that writes; returns how many rows it changed."""
        with self.writing():
            connection = self.connection()
            with connection.wrap_database_errors:
                return int(connection.connection.execute(sql, parameters).rowcount)

    def writing(self) -> AbstractContextManager[None]:
        """In this block it is this thread's turn to write (`DatabaseWrapper.writing`)."""
        connection: Any = connections[self.alias]
        turn: AbstractContextManager[None] = connection.writing()
        return turn

    def tables(self) -> list[str]:
        """Returns the names of all tables."""
        return connections[self.alias].introspection.table_names()

    def in_transaction(self) -> bool:
        """Whether the connection is in a transaction."""
        connection = connections[self.alias].connection
        return connection is not None and connection.in_transaction

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Reads inside see the same state. Django's `atomic` would lock out writers."""
        if self.in_transaction():
            yield
            return
        self.rows("BEGIN", {})
        try:
            yield
        finally:
            self.rows("COMMIT", {})

    def connection(self) -> Any:
        """Django's open connection of this thread."""
        connection: Any = connections[self.alias]
        if connection.connection is None:
            connection.ensure_connection()
        return connection
