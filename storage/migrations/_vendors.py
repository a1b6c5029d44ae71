"""SQL that only one kind of database understands. Not a migration: the name begins with a _."""

from typing import Any

from django.db import migrations


class RunSQLOn(migrations.RunSQL):
    """RunSQL that does nothing where the database is another one than `vendor`."""

    def __init__(self, vendor: str, sql: Any, reverse_sql: Any = None, **options: Any) -> None:
        super().__init__(sql, reverse_sql, **options)
        self.vendor = vendor

    def deconstruct(self) -> Any:
        name, arguments, options = super().deconstruct()
        return name, arguments, options | {"vendor": self.vendor}

    def database_forwards(self, app_label: Any, schema_editor: Any, *states: Any) -> None:
        if schema_editor.connection.vendor == self.vendor:
            super().database_forwards(app_label, schema_editor, *states)

    def database_backwards(self, app_label: Any, schema_editor: Any, *states: Any) -> None:
        if schema_editor.connection.vendor == self.vendor:
            super().database_backwards(app_label, schema_editor, *states)
