"""A backup is whole, private, and counts only when all of it is there."""

import json
import os
import sqlite3
import stat
import threading
from contextlib import closing
from datetime import timedelta

import pytest

from storage.archive import durable
from storage.backups import folder as module
from storage.backups import inspection
from storage.backups.folder import BackupDamaged, BackupFolder, BackupRefused
from storage.exceptions import StorageFull, StorageUnavailable
from tests.sqlite import connect
from tests.storage.backups.conftest import ALL, KEEP, NOW, ROWS, ids

NAME = "backup-20261123T093000.000000Z"


def listed(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_backup_is_one_file_and_a_manifest(backups, backup, folder):
    assert backup.name == NAME
    assert listed(folder) == [".lock", f"{NAME}.json", f"{NAME}.sqlite3"]
    assert ids(backups.path(NAME)) == ALL


def test_the_manifest_says_what_is_in_it(backup, folder):
    content = json.loads((folder / f"{NAME}.json").read_bytes())["content"]
    assert content["tables"]["storage_chatinteraction"] == ROWS
    assert content["tables"]["storage_archivedinteraction"] == 1
    assert content["tables"]["storage_apikey"] == 1
    assert content["hashes"].keys() == {"storage_chatinteraction", "storage_archivedinteraction"}
    assert "storage.0001_initial" in content["schema"]
    assert content["taken_at"] == "2026-11-23T09:30:00.000000Z"
    assert content["expires_at"] == "2026-11-30T09:30:00.000000Z"
    assert content["bytes"] == (folder / f"{NAME}.sqlite3").stat().st_size
    assert content["sqlite_version"] == sqlite3.sqlite_version


def test_only_its_owner_reads_it(backup, folder):
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


def test_what_is_in_the_log_only_is_in_the_backup(backups, database):
    with closing(connect(database, isolation_level=None)) as writer:
        writer.execute("PRAGMA journal_mode = WAL")
        writer.execute("UPDATE storage_chatinteraction SET response = 'in the log'")
        made, _ = backups.take(database, NOW)
        with closing(connect(backups.path(made.name))) as copy:
            sql = "SELECT DISTINCT response FROM storage_chatinteraction"
            assert copy.execute(sql).fetchall() == [("in the log",)]


def test_a_writer_in_the_middle_of_a_transaction_is_not_waited_for(backups, database):
    with closing(connect(database, isolation_level=None)) as writer:
        writer.execute("PRAGMA journal_mode = WAL")
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("DELETE FROM storage_chatinteraction")
        made, _ = backups.take(database, NOW)
    assert ids(backups.path(made.name)) == ALL


def test_equal_rows_have_equal_hashes_in_whatever_order_they_came(backups, backup, database):
    with closing(connect(database)) as connection, connection:
        rows = connection.execute("SELECT * FROM storage_chatinteraction").fetchall()
        connection.execute("DELETE FROM storage_chatinteraction")
        marks = ", ".join("?" * len(rows[0]))
        sql = f"INSERT INTO storage_chatinteraction VALUES ({marks})"
        connection.executemany(sql, reversed(rows))
    again, _ = backups.take(database, NOW + timedelta(hours=1))
    assert again.content == backup.content
    assert again.sha256 != backup.sha256
    with closing(connect(database)) as connection, connection:
        connection.execute("UPDATE storage_chatinteraction SET output_tokens = output_tokens + 1")
    changed, _ = backups.take(database, NOW + timedelta(hours=2))
    assert changed.content.hashes != backup.content.hashes


# What does not count


def test_what_a_crash_has_left_does_not_count_and_goes_with_the_next_run(backups, backup, folder):
    other = "backup-20261122T093000.000000Z"
    left = [f"{other}.sqlite3", f"{other}.sqlite3.partial", f"{other}.sqlite3.partial-wal"]
    left += [f"{other}.json.partial", f"{NAME}.sqlite3.partial", f"{NAME}.sqlite3-journal"]
    for name in left:
        (folder / name).write_bytes(b"x")
    (folder / "notes.txt").write_text("mine")
    assert backups.names() == [NAME]
    backups.take(backups.path(NAME), NOW + timedelta(hours=1))
    assert not set(left) & set(listed(folder))
    assert (folder / "notes.txt").exists()
    backups.verify(NAME)


@pytest.mark.parametrize("step", ["_snapshot", "examine"])
@pytest.mark.parametrize("errno", [28, 5])
def test_a_run_that_fails_leaves_nothing(backups, database, folder, monkeypatch, step, errno):
    def fail(*arguments):
        raise OSError(errno, os.strerror(errno))

    monkeypatch.setattr(module, step, fail)
    expected = StorageFull if errno == 28 else BackupRefused
    with pytest.raises(expected, match="The backup cannot be written"):
        backups.take(database, NOW)
    assert listed(folder) == [".lock"]
    assert backups.names() == []


def test_a_damaged_database_makes_no_backup(backups, database, folder):
    content = bytearray(database.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 4096] = os.urandom(4096)
    database.write_bytes(content)
    with pytest.raises((BackupRefused, StorageUnavailable)):
        backups.take(database, NOW)
    assert backups.names() == []


def test_a_missing_database_is_not_made(backups, tmp_path):
    with pytest.raises(StorageUnavailable):
        backups.take(tmp_path / "missing.sqlite3", NOW)
    assert not (tmp_path / "missing.sqlite3").exists()


# Expiry


def test_expired_ones_go_once_there_is_a_new_one(backups, backup, database, folder):
    made, deleted = backups.take(database, NOW + KEEP - timedelta(microseconds=1))
    assert deleted == []
    later, deleted = backups.take(database, NOW + KEEP)
    assert deleted == [NAME]
    assert backups.names() == [made.name, later.name]
    assert not list(folder.glob(f"{NAME}*"))


def test_without_a_new_one_none_goes(backups, backup, database, monkeypatch):
    def fail(*arguments):
        raise OSError(28, "full")

    monkeypatch.setattr(module, "_snapshot", fail)
    with pytest.raises(StorageFull):
        backups.take(database, NOW + 2 * KEEP)
    assert backups.names() == [NAME]
    backups.verify(NAME)


def test_one_whose_manifest_is_damaged_expires_as_well(backups, backup, database, folder):
    (folder / f"{NAME}.json").write_text("{}")
    backups.take(database, NOW + timedelta(days=1))
    _, deleted = backups.take(database, NOW + KEEP)
    assert deleted == [NAME]


def test_the_two_newest_stay_however_old_they_are(backups, backup, database):
    second, _ = backups.take(database, NOW + timedelta(days=1))
    third, deleted = backups.take(database, NOW + 100 * KEEP)
    assert deleted == [NAME]
    assert backups.names() == [second.name, third.name]


class OutOfTime(Exception):
    """The time is up."""


def test_it_is_stopped_when_the_time_is_up_and_leaves_nothing(
    backups, backup, database, folder, monkeypatch
):
    """While the database is copied it cannot be stopped; but then, while it is read, it can."""
    monkeypatch.setattr(inspection, "INSTRUCTIONS", 100)
    for stops_at in range(1, 4):
        looks = 0

        def check_time(stops_at=stops_at):
            nonlocal looks
            looks += 1
            if looks == stops_at:
                raise OutOfTime

        with pytest.raises(OutOfTime):
            backups.take(database, NOW + timedelta(days=1), check_time=check_time)
        looks = 0
        with pytest.raises(OutOfTime):
            backups.verify(NAME, check_time)
        assert backups.names() == [NAME]
        assert listed(folder) == [".lock", f"{NAME}.json", f"{NAME}.sqlite3"]


def test_fewer_days_hold_for_older_ones_and_more_days_do_not(backup, folder, database):
    assert dict(BackupFolder(folder, timedelta(days=2)).copies()) == {NAME: NOW + timedelta(days=2)}
    assert dict(BackupFolder(folder, timedelta(days=90)).copies()) == {NAME: NOW + KEEP}


def test_one_that_is_being_made_is_among_the_copies(backups, backup, folder):
    (folder / "backup-20261124T093000.000000Z.sqlite3.partial").write_bytes(b"x")
    assert dict(backups.copies()) == {
        NAME: NOW + KEEP,
        "backup-20261124T093000.000000Z": NOW + timedelta(days=8),
    }


# Two at once


def test_nobody_deletes_what_is_being_read(backups, backup, database, monkeypatch):
    monkeypatch.setattr(module, "WAIT_SECONDS", 0.2)
    with backups.reading(), pytest.raises(BackupRefused, match="try again"):
        backups.take(database, NOW + KEEP)
    backups.take(database, NOW + timedelta(days=1))
    backups.take(database, NOW + KEEP)
    with pytest.raises(BackupRefused, match=f"There is no backup {NAME}"):
        backups.named(NAME)


def test_two_that_read_do_not_wait(backups, backup):
    with backups.reading(), backups.reading():
        backups.verify(NAME)


def test_two_runs_make_two_backups_one_after_the_other(backups, database):
    times = [NOW, NOW + timedelta(seconds=1)]
    runs = [threading.Thread(target=backups.take, args=(database, time)) for time in times]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    assert len(backups.names()) == 2
    for name in backups.names():
        backups.verify(name)


# Names


def test_latest_is_the_newest_that_counts(backups, backup, database, folder):
    assert backups.named("latest") == NAME
    made, _ = backups.take(database, NOW + timedelta(hours=1))
    (folder / "backup-20271123T093000.000000Z.sqlite3").write_bytes(b"no manifest")
    assert backups.named("latest") == made.name
    assert backups.named(f"{NAME}.sqlite3") == backups.named(f"{NAME}.json") == NAME


@pytest.mark.parametrize("name", ["latest", "../secret", "", NAME])
def test_an_unknown_name_is_refused(backups, folder, name):
    folder.mkdir()
    with pytest.raises(BackupRefused, match="There is no backup"):
        backups.named(name)


def test_a_manifest_of_another_backup_is_refused(backups, backup, folder):
    other = "backup-20261124T093000.000000Z"
    for suffix in (".json", ".sqlite3"):
        durable.copy(folder / f"{NAME}{suffix}", folder / f"{other}{suffix}")
    with pytest.raises(BackupDamaged, match=rf"{other}\.json"):
        backups.verify(other)
