"""Migrations at start: applied once, however many processes start at once."""

import fcntl
import sqlite3
import threading

import pytest
from django.core.management import CommandError
from django.db import connections

from storage.startup import schema as migrate
from storage.startup import upgrades
from storage.startup.schema import migrate_under_lock


def start_two(start_program, tmp_path):
    """Two processes that begin to migrate one new database at the same moment."""
    start = tmp_path / "start"
    processes = [start_program("with_django.migrations", str(start)) for _ in range(2)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    start.touch()
    return [(*process.communicate(), process.returncode) for process in processes]


def test_two_processes_that_start_on_a_new_database_both_succeed(start_program, tmp_path):
    results = start_two(start_program, tmp_path)
    assert [code for *_, code in results] == [0, 0], results
    (first, *_), (second, *_) = results
    assert first == second
    assert first.startswith("done ")
    applied = int(first.removeprefix("done "))
    connection = sqlite3.connect(tmp_path / "program.sqlite3")
    (rows,) = connection.execute("SELECT count(*) FROM django_migrations").fetchone()
    (apps,) = connection.execute(
        "SELECT count(*) FROM django_migrations WHERE app = 'storage'"
    ).fetchone()
    connection.close()
    assert rows == applied  # each of them once
    assert apps >= 1


@pytest.fixture
def empty_database(add_database, tmp_path):
    """An alias whose database file does not exist yet, in a folder that does not either."""
    return add_database("fresh", name=str(tmp_path / "new" / "fresh.sqlite3"), tables=False)


def test_a_missing_folder_is_made(empty_database, monkeypatch):
    called = []
    monkeypatch.setattr(migrate, "call_command", lambda *args, **options: called.append(args))
    migrate_under_lock("fresh")
    assert called == [("migrate",)]


def test_a_second_start_applies_nothing(db, monkeypatch):
    # The tests' own database is migrated.
    def fail(*args, **options):
        raise AssertionError("there is nothing to apply")

    monkeypatch.setattr(migrate, "call_command", fail)
    migrate_under_lock()


def test_what_is_missing_is_applied_to_the_right_database(empty_database, monkeypatch):
    applied = []
    monkeypatch.setattr(migrate, "call_command", lambda *args, **options: applied.append(options))
    migrate_under_lock("fresh")
    assert [options["database"] for options in applied] == ["fresh"]
    assert applied[0]["interactive"] is False


def test_a_start_waits_while_another_one_migrates(empty_database, monkeypatch):
    monkeypatch.setattr(migrate, "call_command", lambda *args, **options: None)
    migrate_under_lock("fresh")
    done = threading.Event()

    def start():
        migrate_under_lock("fresh")
        connections["fresh"].close()
        done.set()

    with open(f"{empty_database.settings_dict['NAME']}.migrate.lock", "w") as lock:  # noqa: PTH123
        fcntl.flock(lock, fcntl.LOCK_EX)
        thread = threading.Thread(target=start)
        thread.start()
        assert not done.wait(0.3)
    thread.join(10)
    assert done.is_set()


def test_a_migration_that_fails_lets_go_of_the_lock(empty_database, monkeypatch):
    def fail(*args, **options):
        raise CommandError("no such table")

    monkeypatch.setattr(migrate, "call_command", fail)
    with pytest.raises(CommandError):
        migrate_under_lock("fresh")
    with open(f"{empty_database.settings_dict['NAME']}.migrate.lock", "w") as lock:  # noqa: PTH123
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # raises if someone holds it


def test_how_long_an_upgrade_takes_is_found_beside_tables_of_other_programs(add_database):
    """Such as those of `sqlite-utils enable-fts`, of which two have no rowid."""
    with add_database("others").cursor() as cursor:
        cursor.execute("CREATE VIRTUAL TABLE words USING fts5 (word)")
        cursor.execute("INSERT INTO words VALUES ('a')")
    assert dict(upgrades._row_counts("others"))["storage_chatinteraction"] == 0
