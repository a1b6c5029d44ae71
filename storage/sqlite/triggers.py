"""Compares the triggers of a database with those that the migrations make."""

import re
from collections.abc import Iterable, Iterator

from django.db.migrations import Migration, RunSQL

from storage.sqlite.indexes import stored_sql

_MADE = re.compile(r"\s*CREATE\s+TRIGGER\s+(\w+)\b.*?\bON\s+(\w+)", re.IGNORECASE | re.DOTALL)
_DROPPED = re.compile(r"\s*DROP\s+TRIGGER\s+(?:IF\s+EXISTS\s+)?(\w+)", re.IGNORECASE)


def problems(alias: str, migrations: Iterable[Migration]) -> Iterator[str]:
    """Yields each trigger that is missing, with the SQL that makes it.

    Tables that are not there are not complained of. Makes no database.
    """
    found = stored_sql(alias)
    for name, (table, sql) in made_by(migrations).items():
        if table in found and name not in found:
            yield f"{name} is missing ({sql})"


def made_by(migrations: Iterable[Migration]) -> dict[str, tuple[str, str]]:
    """The table and the SQL of each trigger that there is after these migrations."""
    made: dict[str, tuple[str, str]] = {}
    for migration in sorted(migrations, key=lambda each: each.name):
        for sql in _statements(migration):
            if match := _MADE.match(sql):
                made[match[1]] = match[2], " ".join(sql.split())
            elif match := _DROPPED.match(sql):
                made.pop(match[1], None)
    return made


def _statements(migration: Migration) -> Iterator[str]:
    for operation in migration.operations:
        if not isinstance(operation, RunSQL) or getattr(operation, "vendor", "sqlite") != "sqlite":
            continue
        given = operation.sql
        for statement in [given] if isinstance(given, str) else given:
            yield statement if isinstance(statement, str) else statement[0]
