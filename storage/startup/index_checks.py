"""A system check: the indexes of the database are those that the migrations make.

Other programs can drop an index, or lose it with a dump that they reload in part. Nothing fails
then: calls only become slow, the more so the more is stored. As Django's own checks of databases,
it runs with `manage.py check --database default` and before a migration. While migrations are
pending it says nothing: these make the indexes.
"""

from collections.abc import Callable, Collection, Iterable
from typing import Any

from django.core import checks
from django.db import DatabaseError, connections
from django.db.migrations.loader import MigrationLoader

from storage.sql.vendors import is_postgresql
from storage.sqlite import indexes

ALIAS = "default"


@checks.register(checks.Tags.database)
def check_indexes(
    databases: Collection[str] | None = None, **kwargs: Any
) -> list[checks.CheckMessage]:
    """storage.E012: an index is missing, or is another than the migrations make."""
    problems = problems_in_sqlite(databases, indexes.problems)
    if not problems:
        return []
    return [
        checks.Error(
            "The database lacks indexes as the migrations make them, so calls are slow: "
            f"{'; '.join(problems)}.",
            hint="Run the statements that are given. What a statement would replace, drop before: "
            "DROP INDEX name.",
            id="storage.E012",
        )
    ]


def problems_in_sqlite(
    databases: Collection[str] | None, find: Callable[[str], Iterable[str]]
) -> list[str]:
    """What `find` finds, sorted, in the SQLite database of this alias.

    Nothing if the check is not asked for it, or migrations are pending, or it cannot be read: then
    whoever uses it will be told.
    """
    if ALIAS not in (databases or ()) or is_postgresql(ALIAS):
        return []
    try:
        return sorted(find(ALIAS)) if _is_migrated() else []
    except DatabaseError:
        return []


def _is_migrated() -> bool:
    """Whether no migration is pending: those that are make what a check would miss."""
    loader = MigrationLoader(connections[ALIAS], replace_migrations=False)
    return loader.disk_migrations.keys() <= loader.applied_migrations.keys()
