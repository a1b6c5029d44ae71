#!/usr/bin/env bash
# Django 5.2.19, Python 3.11, SQLite: a migration that alters a field, or adds one with a default, copies the table to
# a new one and drops the old one. Django makes its own indexes again. Triggers and indexes that a RunSQL made go
# with the old table, and nothing says so. Even another default does it, which is Python's alone and in no schema;
# a field that may be null, or one that is renamed or removed, keeps them. The manual says that tables are made anew,
# and nothing of triggers. A good engineer would expect what a migration made to last until a migration drops it.
#
# Output seen:
#   add a field that may be null: trigger and index kept
#   rename a field: trigger and index kept
#   remove a field: trigger and index kept
#   add a field with a default: trigger and index lost
#   another default in Python: trigger and index lost
#   a longer max_length: trigger and index lost
#   add a check constraint: trigger and index lost
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check django==5.2.19

timeout 120 "$folder/venv/bin/python" - > "$folder/output" <<'PYTHON'
import django
from django.conf import settings

settings.configure(
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
)
django.setup()

from django.db import connection, migrations, models
from django.db.migrations.state import ProjectState

BEFORE = [
    migrations.CreateModel(
        "Note",
        [
            ("id", models.AutoField(primary_key=True)),
            ("title", models.CharField(max_length=50)),
            ("stars", models.IntegerField(default=1)),
        ],
    ),
    migrations.RunSQL(
        [
            "CREATE TABLE log (title)",
            "CREATE TRIGGER logged AFTER INSERT ON app_note "
            "BEGIN INSERT INTO log VALUES (NEW.title); END",
            "CREATE INDEX by_title ON app_note (lower(title))",
        ]
    ),
]
CHANGES = {
    "add a field that may be null": migrations.AddField("note", "more", models.TextField(null=True)),
    "rename a field": migrations.RenameField("note", "stars", "points"),
    "remove a field": migrations.RemoveField("note", "stars"),
    "add a field with a default": migrations.AddField("note", "more", models.TextField(default="")),
    "another default in Python": migrations.AlterField("note", "stars", models.IntegerField(default=2)),
    "a longer max_length": migrations.AlterField("note", "title", models.CharField(max_length=60)),
    "add a check constraint": migrations.AddConstraint(
        "note", models.CheckConstraint(condition=models.Q(stars__gt=0), name="has_stars")
    ),
}


def migrate(operations):
    state = ProjectState()
    for operation in operations:
        after = state.clone()
        operation.state_forwards("app", after)
        with connection.schema_editor() as editor:
            operation.database_forwards("app", editor, state, after)
        state = after


for what, change in CHANGES.items():
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS app_note")
        cursor.execute("DROP TABLE IF EXISTS log")
    migrate([*BEFORE, change])
    with connection.cursor() as cursor:
        cursor.execute("SELECT name FROM sqlite_master WHERE name IN ('logged', 'by_title')")
        left = len(cursor.fetchall())
    print(f"{what}: {['trigger and index lost', 'one lost', 'trigger and index kept'][left]}")
PYTHON

cat "$folder/output"
diff "$folder/output" - <<'EXPECTED'
add a field that may be null: trigger and index kept
rename a field: trigger and index kept
remove a field: trigger and index kept
add a field with a default: trigger and index lost
another default in Python: trigger and index lost
a longer max_length: trigger and index lost
add a check constraint: trigger and index lost
EXPECTED
