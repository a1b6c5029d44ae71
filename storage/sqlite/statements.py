"""Running `queries` on the connection of the calling thread."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from django.db import connections


class Statements:
    """The statements of one database, past Django's cursors, which cost more than SQLite does."""

    def __init__(self, alias: str) -> None:
        self.alias = alias

    def rows(self, sql: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """All rows that a statement returns."""
        connection = self.connection()
        with connection.wrap_database_errors:
            rows: list[tuple[Any, ...]] = connection.connection.execute(sql, parameters).fetchall()
        return rows

    def changed(self, sql: str, parameters: Mapping[str, Any]) -> int:
        """How many rows a statement has changed."""
        connection = self.connection()
        with connection.wrap_database_errors:
            return int(connection.connection.execute(sql, parameters).rowcount)

    def tables(self) -> list[str]:
        """The names of all tables."""
        return connections[self.alias].introspection.table_names()

    def in_transaction(self) -> bool:
        """Whether the connection is within a transaction."""
        connection = connections[self.alias].connection
        return connection is not None and connection.in_transaction

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Several reads of the same state. Without Django, which would begin to write."""
        if self.in_transaction():
            yield
            return
        self.rows("BEGIN", {})
        try:
            yield
        finally:
            self.rows("COMMIT", {})

    def connection(self) -> Any:
        """Django's connection of this thread, open."""
        connection: Any = connections[self.alias]
        if connection.connection is None:
            connection.ensure_connection()
        return connection
