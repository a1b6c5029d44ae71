"""A system check: the database has the triggers that the migrations make.

Whatever makes a table anew loses its triggers, and nothing fails then: sqlite-utils' `transform`,
a dump that is reloaded in part, and Django itself when a migration alters a field. It runs as the
check of indexes does.
"""

from collections.abc import Collection
from typing import Any

from django.core import checks
from django.db.migrations.loader import MigrationLoader

from storage.sqlite import triggers
from storage.startup.index_checks import ALIAS, problems_in_sqlite


@checks.register(checks.Tags.database)
def check_triggers(
    databases: Collection[str] | None = None, **kwargs: Any
) -> list[checks.CheckMessage]:
    """storage.E014: a trigger is missing."""
    found = problems(databases)
    if not found:
        return []
    return [
        checks.Error(
            "The database lacks triggers that the migrations make, so what they keep up to date "
            f"is not: {'; '.join(found)}.",
            hint="Stop the servers, run the statements that are given, then rebuild_usage and "
            "rebuild_search.",
            id="storage.E014",
        )
    ]


def problems(databases: Collection[str] | None = (ALIAS,)) -> list[str]:
    """Each trigger that is missing in the SQLite database, with the SQL that makes it."""
    return problems_in_sqlite(databases, lambda alias: triggers.problems(alias, _migrations()))


def _migrations() -> list[Any]:
    loader = MigrationLoader(None, replace_migrations=False)
    return [each for (app, _), each in loader.disk_migrations.items() if app == "storage"]
