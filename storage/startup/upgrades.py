"""What pending migrations do to large tables: nobody else can write while one is gone through.

SQLite builds an index, or rewrites a table, in one transaction, which holds the write lock. So it
is found out beforehand from the SQL of the migrations, whatever they are.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.db import connections
from django.db.migrations import Migration

from storage.sql.vendors import is_postgresql

if TYPE_CHECKING:
    from django.db.migrations.loader import MigrationLoader

ROWS_PER_SECOND = 30_000
"""That go into an index or another table. Two busy cores managed 44,000, idle ones 140,000."""

WORTH_SAYING = 1.0
"""Seconds. A client waits for that long without harm."""

_GOES_THROUGH = re.compile(
    r"\s*(CREATE (UNIQUE )?INDEX|INSERT|REPLACE|UPDATE|DELETE|ALTER TABLE .* DROP)\b",
    re.IGNORECASE | re.DOTALL,
)
"""How statements begin that go through a table. The others change the schema, or few pages."""

_ESTIMATES = """
    SELECT relname, greatest(reltuples, 0)::bigint FROM pg_class
    WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace
"""
"""PostgreSQL's own, as of its last ANALYZE."""

_WITH_ROWIDS = (
    "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table' AND NOT wr"
)
"""Other programs may have made tables without, or virtual ones, as for a search of their own."""


@dataclass(frozen=True)
class Work:
    """One pass of a migration through a table that is large."""

    migration: str
    table: str
    rows: int

    @property
    def seconds(self) -> float:
        """How long it takes, about. A quick machine needs a third of that."""
        return self.rows / ROWS_PER_SECOND


def large_work(plan: Sequence[Migration], loader: "MigrationLoader", alias: str) -> list[Work]:
    """The passes through large tables in pending migrations. Costs little, whatever there is."""
    large = {name: rows for name, rows in _row_counts(alias) if _is_long(rows)}
    if not large:
        return []
    return [
        Work(f"{migration.app_label}.{migration.name}", table, large[table])
        for migration in plan
        for table in _passes(migration, loader, alias)
        if table in large
    ]


def in_words(work: Sequence[Work]) -> str:
    """Which migrations go through what, and for how long."""
    rows: dict[tuple[str, str], int] = {(each.migration, each.table): each.rows for each in work}
    passes = ", ".join(
        f"{migration} goes through the {count:,} rows of {table}"
        for (migration, table), count in rows.items()
    )
    seconds = sum(each.seconds for each in work)
    return f"{passes}. That takes about {seconds:,.0f} s, and nobody else can save meanwhile."


def _is_long(rows: int) -> bool:
    return rows / ROWS_PER_SECOND > WORTH_SAYING


def _row_counts(alias: str) -> Iterator[tuple[str, int]]:
    """Each table with about as many rows as it has. Counting them would read them all."""
    connection = connections[alias]
    if is_postgresql(alias):
        with connection.cursor() as cursor:
            cursor.execute(_ESTIMATES)
            yield from cursor.fetchall()
        return
    quote = connection.ops.quote_name
    with connection.cursor() as cursor:
        cursor.execute(_WITH_ROWIDS)
        for (table,) in cursor.fetchall():
            cursor.execute(f"SELECT max(rowid) FROM {quote(table)}")  # noqa: S608
            last = cursor.fetchone()[0] or 0
            cursor.execute(f"SELECT min(rowid) FROM {quote(table)}")  # noqa: S608
            first = cursor.fetchone()[0] or 0
            yield table, last - first


def _passes(migration: Migration, loader: "MigrationLoader", alias: str) -> Iterator[str]:
    """The tables that a migration goes through, once for each time that it does."""
    for statement in loader.collect_sql([(migration, False)]):
        if _GOES_THROUGH.match(statement):
            yield from _tables(statement)
    if any(not operation.reduces_to_sql for operation in migration.operations):
        yield from _tables_of_application(migration, loader)  # its code may do anything


def _tables(statement: str) -> set[str]:
    """All names in a statement that may be those of tables."""
    return set(re.findall(r"\w+", statement))


def _tables_of_application(migration: Migration, loader: "MigrationLoader") -> Iterator[str]:
    state = loader.project_state((migration.app_label, migration.name), at_end=False)
    for model in state.apps.get_app_config(migration.app_label).get_models():
        yield model._meta.db_table
