"""The roles of staff: made once by a migration, and the operator's from then on."""

import sqlite3
from contextlib import closing
from importlib import import_module

from tests.chat.processes import run

ROLES = import_module("storage.migrations.0012_roles").ROLES

PRODUCTION = {
    "ENVIRONMENT": "production",
    "SECRET_KEY": "s" * 50,
    "AWS_REGION": "eu-central-1",
    "ALLOWED_HOSTS": "chat.example.org",
}


def query(folder, sql):
    with closing(sqlite3.connect(folder / "data.sqlite3")) as database, database:
        return database.execute(sql).fetchall()


def groups(folder):
    rows = query(
        folder,
        "SELECT name, codename FROM auth_group g "
        "JOIN auth_group_permissions m ON m.group_id = g.id "
        "JOIN (SELECT id, codename FROM auth_permission) p ON p.id = m.permission_id",
    )
    return {name: {code for of, code in rows if of == name} for name, _ in rows}


def migrate(folder, *arguments, **values):
    done = run(folder, "migrate", *arguments, **values)
    assert done.returncode == 0, done.stderr


EXPECTED = {name: set(codenames) for name, codenames in ROLES.items()}


def test_production_has_the_roles_although_interactions_are_elsewhere(tmp_path):
    migrate(tmp_path, **PRODUCTION)
    assert groups(tmp_path) == EXPECTED


def test_what_the_operator_has_changed_stays(tmp_path):
    migrate(tmp_path)
    assert groups(tmp_path) == EXPECTED
    query(tmp_path, "UPDATE auth_group SET name = 'Support' WHERE name = 'Operator'")
    query(
        tmp_path,
        "DELETE FROM auth_group_permissions WHERE group_id = "
        "(SELECT id FROM auth_group WHERE name = 'Reader')",
    )
    migrate(tmp_path, "storage", "0011")
    migrate(tmp_path)
    found = groups(tmp_path)
    assert "Reader" not in found, "it got nothing back"
    assert found["Support"] == found["Operator"] == EXPECTED["Operator"]
