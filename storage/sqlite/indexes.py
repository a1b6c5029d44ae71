"""Compares the indexes of a database with those that the migrations make."""

from collections.abc import Iterator
from pathlib import Path

from django.apps import apps
from django.db import connections


def problems(alias: str) -> Iterator[str]:
    """Yields what is wrong with each index that is missing or another, and the SQL that makes it.

    Tables that are not there are not complained of. Makes no database.
    """
    connection = connections[alias]
    stored, editor = stored_sql(alias), connection.schema_editor()
    for model in apps.get_app_config("storage").get_models():
        if model._meta.db_table not in stored:
            continue
        for index in model._meta.indexes:
            sql = str(index.create_sql(model, editor))
            found = stored.get(index.name)
            if found is None:
                yield f"{index.name} is missing ({sql})"
            elif _comparable(found) != _comparable(sql):
                yield f"{index.name} is another ({sql})"


def stored_sql(alias: str) -> dict[str, str]:
    """Returns the SQL of each table, index and trigger, by its name."""
    connection = connections[alias]
    if not Path(str(connection.settings_dict["NAME"])).exists():
        return {}
    with connection.cursor() as cursor:
        cursor.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")
        return dict(cursor.fetchall())


def _comparable(sql: str) -> str:
    """Without what makes no difference: space, quotes, and the case of words."""
    return "".join(sql.replace('"', "").lower().split())
