"""Migrations that are cut short, by a kill or a full disk, can be repeated."""

import copy
import errno

import pytest
from django.db import connections
from django.db.migrations.recorder import MigrationRecorder

from storage.sqlite import base
from storage.startup.schema import migrate_under_lock

ALIAS = "empty"


@pytest.fixture
def empty_database(tmp_path, django_db_blocker):
    """The alias of a database with no tables."""
    settings = copy.deepcopy(connections.settings["default"])
    settings["NAME"] = str(tmp_path / "empty.sqlite3")
    connections.settings[ALIAS] = settings
    with django_db_blocker.unblock():
        yield ALIAS
        connections[ALIAS].close()
    base.close_pool(settings["NAME"])
    del connections[ALIAS], connections.settings[ALIAS]


# Django commits the tables of each of these before it records that they exist.
@pytest.mark.parametrize("app", ["auth", "admin", "rest_framework_api_key"])
def test_migrations_that_were_cut_short_are_finished_by_the_next_start(
    empty_database, monkeypatch, app
):
    record = MigrationRecorder.record_applied

    def cut_short(recorder, migration_app, name):
        if migration_app == app:
            raise OSError(errno.ENOSPC, "cut short")
        record(recorder, migration_app, name)

    monkeypatch.setattr(MigrationRecorder, "record_applied", cut_short)
    with pytest.raises(OSError, match="cut short"):
        migrate_under_lock(empty_database)
    monkeypatch.undo()
    migrate_under_lock(empty_database)
    assert not connections[empty_database].in_atomic_block
