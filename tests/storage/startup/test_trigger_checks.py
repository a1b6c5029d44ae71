"""The check that compares the triggers of the database with those that the migrations make."""

import pytest
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.db import connection
from django.db.migrations import DeleteModel, Migration, RunSQL
from django.db.migrations.loader import MigrationLoader

from storage.models import AuditEntry
from storage.sqlite import triggers
from storage.startup.trigger_checks import check_triggers

ALL = {
    "audit_entry_is_not_changed",
    "audit_entry_stays",
    "interaction_id_archived",
    "text_archived",
    "text_deleted",
    "text_inserted",
    "text_removed",
    "text_updated",
    "usage_archived",
    "usage_changed",
    "usage_created",
    "usage_deleted",
    "usage_moved",
    "usage_stub_completed",
    "usage_stub_deleted",
}


def execute(*statements):
    with connection.cursor() as cursor:
        for sql in statements:
            cursor.execute(sql)


def migrations(*operations):
    """Migrations with one operation each, in that order."""
    made = [Migration(f"{number:04}", "storage") for number, _ in enumerate(operations)]
    for migration, operation in zip(made, operations, strict=True):
        migration.operations = [operation]
    return made


@pytest.mark.django_db
def test_what_the_migrations_have_made_is_right():
    assert check_triggers(databases=["default"]) == []


@pytest.mark.django_db
def test_all_triggers_are_known():
    with connection.cursor() as cursor:
        cursor.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")
        assert {name for (name,) in cursor.fetchall()} == ALL
    made = triggers.made_by(MigrationLoader(None).disk_migrations.values())
    assert set(made) == ALL


@pytest.mark.django_db
@pytest.mark.parametrize("name", sorted(ALL))
def test_a_missing_trigger_is_named_with_what_makes_it(name):
    execute(f"DROP TRIGGER {name}")
    (error,) = check_triggers(databases=["default"])
    assert error.id == "storage.E014"
    execute(error.msg.partition(f"{name} is missing (")[2].removesuffix(")."))
    assert check_triggers(databases=["default"]) == []


@pytest.mark.django_db
def test_a_table_that_is_made_anew_has_lost_them():
    """As sqlite-utils does it, and Django with a field that is altered."""
    table = AuditEntry._meta.db_table
    execute(
        f"CREATE TABLE anew AS SELECT * FROM {table}",
        f"DROP TABLE {table}",
        f"ALTER TABLE anew RENAME TO {table}",
    )
    (error,) = check_triggers(databases=["default"])
    assert error.msg.count(" is missing (") == 2


def test_what_a_later_migration_drops_is_not_missed():
    make = RunSQL("CREATE TRIGGER one AFTER INSERT ON t BEGIN SELECT 1; END", "DROP TRIGGER one")
    drop = RunSQL([("drop  trigger IF EXISTS one", None)])
    assert list(triggers.made_by(migrations(make))) == ["one"]
    assert list(triggers.made_by(migrations(make, drop))) == []
    assert list(triggers.made_by(migrations(make, drop, make))) == ["one"]
    assert list(triggers.made_by(migrations(DeleteModel("t"), RunSQL(RunSQL.noop)))) == []


@pytest.mark.django_db
def test_the_command_says_it():
    execute("DROP TRIGGER audit_entry_stays")
    with pytest.raises(SystemCheckError, match=r"storage\.E014"):
        call_command("check", databases=["default"])


@pytest.mark.django_db
def test_a_table_that_is_not_there_lacks_no_trigger():
    execute(f"DROP TABLE {AuditEntry._meta.db_table}")
    assert check_triggers(databases=["default"]) == []


@pytest.mark.django_db
def test_without_being_asked_it_looks_at_no_database():
    execute("DROP TRIGGER usage_created")
    assert check_triggers() == check_triggers(databases=["other"]) == []


def test_no_database_is_made(no_default_database):
    assert check_triggers(databases=["default"]) == []
