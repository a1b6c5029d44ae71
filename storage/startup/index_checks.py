"""A system check: the indexes of the database are those that the migrations make.

Other programs can drop an index, or lose it with a dump that they reload in part. Nothing fails
then: calls only become slow, the more so the more is stored.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.apps import apps
from django.core import checks
from django.db import DatabaseError, connections

ALIAS = "default"


@checks.register(checks.Tags.models)
def check_indexes(**kwargs: Any) -> list[checks.CheckMessage]:
    """storage.E012: an index is missing, or is another than the migrations make."""
    try:
        problems = sorted(_problems(_stored()))
    except DatabaseError:
        return []  # which whoever uses the database will be told
    if not problems:
        return []
    return [
        checks.Error(
            "The database has not the indexes that the migrations make, so calls are slow: "
            f"{'; '.join(problems)}.",
            hint="Run the statements that are given. What a statement would replace, drop before: "
            "DROP INDEX name.",
            id="storage.E012",
        )
    ]


def _problems(stored: dict[str, str]) -> Iterator[str]:
    connection = connections[ALIAS]
    editor = connection.schema_editor()
    for model in apps.get_app_config("storage").get_models():
        if model._meta.db_table not in stored:
            continue  # not migrated
        for index in model._meta.indexes:
            sql = str(index.create_sql(model, editor))
            found = stored.get(index.name)
            if found is None:
                yield f"{index.name} is missing ({sql})"
            elif _comparable(found) != _comparable(sql):
                yield f"{index.name} is another ({sql})"


def _stored() -> dict[str, str]:
    """Returns the SQL of each table and index, by its name. Makes no database."""
    connection = connections[ALIAS]
    if not Path(str(connection.settings_dict["NAME"])).exists():
        return {}
    with connection.cursor() as cursor:
        cursor.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")
        return dict(cursor.fetchall())


def _comparable(sql: str) -> str:
    """Without what makes no difference: space, quotes, and the case of words."""
    return "".join(sql.replace('"', "").lower().split())
