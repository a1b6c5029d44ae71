"""The tables in PostgreSQL: those of accounts, made once, and none for interactions."""

import pytest
from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.db import IntegrityError, connection, transaction

from storage.accounts import audit_log
from storage.accounts.audit_log import Action
from storage.sql.vendors import lock_number
from storage.startup import schema
from storage.startup.router import ELSEWHERE
from tests.postgresql import as_default

pytestmark = pytest.mark.usefixtures("in_postgresql")


def rows(sql, *parameters):
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return cursor.fetchall()


def test_of_two_that_start_at_once_one_has_applied_each_migration():
    """The fixture `migrated_postgresql` has let two."""
    counts = dict(rows("SELECT app || '.' || name, count(*) FROM django_migrations GROUP BY 1"))
    assert set(counts.values()) == {1}
    assert {tuple(name.split(".")) for name in counts} == schema._on_disk()


def test_there_is_nothing_for_interactions():
    found = set(connection.introspection.table_names())
    absent = {model._meta.db_table for model in ELSEWHERE}
    models = apps.get_models(include_auto_created=True)
    wanted = {model._meta.db_table for model in models if model._meta.managed}
    assert found == wanted - absent | {"django_migrations"}
    triggers = {name for (name,) in rows("SELECT tgname FROM pg_trigger WHERE NOT tgisinternal")}
    assert triggers == {"audit_entry_is_not_changed", "audit_entries_stay"}


def test_texts_with_an_order_are_ordered_by_code_point():
    found = rows(
        "SELECT table_name, column_name FROM information_schema.columns WHERE collation_name = 'C'"
    )
    assert set(found) >= {
        ("storage_usageofuser", "user_id"),
        ("storage_usageofuser", "model_used"),
        ("storage_usageofmodel", "model_used"),
        ("storage_modelprice", "model_used"),
        ("storage_intakecount", "source"),
    }


def test_the_audit_log_cannot_be_emptied_at_once():
    audit_log.record(Action.READ, "grace")
    with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
        rows("TRUNCATE storage_auditentry")


def test_whoever_finds_all_done_waits_for_nobody(in_postgresql):
    with in_postgresql.connect(connection.settings_dict["NAME"]) as other:
        other.execute("SELECT pg_advisory_lock(%s)", [lock_number("migrations")])
        schema.bring_up_to_date()


def test_a_later_version_is_refused():
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO django_migrations (app, name, applied) "
            "VALUES ('storage', '9999_later', now())"
        )
    try:
        with pytest.raises(ImproperlyConfigured, match="has migrated the PostgreSQL database"):
            schema.migrate_under_lock()
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM django_migrations WHERE name = '9999_later'")


def test_long_waits_are_known_from_statistics(caplog, monkeypatch):
    from storage.startup import upgrades

    monkeypatch.setattr(upgrades, "WORTH_SAYING", 0.0)
    audit_log.record(Action.READ, "grace")
    rows_of = dict(upgrades._row_counts("default"))
    assert "storage_auditentry" in rows_of
    assert all(count >= 0 for count in rows_of.values())


def test_migrations_that_fail_leave_nothing_behind(in_postgresql, settings, monkeypatch):
    from django.db.migrations.recorder import MigrationRecorder

    settings.DATABASE_ROUTERS = ["storage.startup.router.NoInteractions"]
    name = in_postgresql.create()
    recorded = MigrationRecorder.record_applied

    def fail(self, app, migration):
        if (app, migration) == ("auth", "0003_alter_user_email_max_length"):
            raise KeyboardInterrupt
        recorded(self, app, migration)

    monkeypatch.setattr(MigrationRecorder, "record_applied", fail)
    with as_default(in_postgresql.url(name)):
        with pytest.raises(KeyboardInterrupt):
            schema.migrate_under_lock()
        assert connection.introspection.table_names() == []
    in_postgresql.drop(name)
