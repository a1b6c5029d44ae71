"""A backup is whole, private, and counts only when all of it is there."""

import json
import os
import re
import signal
import sqlite3
import stat
import threading
from contextlib import closing
from datetime import timedelta

import pytest

from storage.archive import durable
from storage.backups import files, inspection, manifests, snapshot
from storage.backups import folder as module
from storage.backups.files import BackupRefused
from storage.backups.folder import BackupFolder
from storage.backups.manifests import BackupDamaged
from storage.compat import zstd
from storage.exceptions import StorageFull, StorageUnavailable
from tests.sqlite import connect
from tests.storage.backups.conftest import ALL, KEEP, NOW, ROWS, ids, plain

NAME = "backup-20261123T093000.000000Z"


def listed(folder):
    return sorted(path.name for path in folder.iterdir())


FILES = [".lock", f"{NAME}.json", f"{NAME}.parts", "chunks"]


def chunks(folder):
    return {path.name.removesuffix(".zst") for path in (folder / "chunks").iterdir()}


def test_a_backup_is_a_manifest_and_a_list_of_chunks(backups, backup, folder, tmp_path, database):
    assert backup.name == NAME
    assert listed(folder) == FILES
    assert set(backups.parts(backup).chunks) == chunks(folder)
    assert ids(plain(backups, backup, tmp_path / "plain")) == ALL
    assert (tmp_path / "plain").read_bytes() == database.read_bytes()


def test_it_can_be_put_together_without_this_software(backups, backup, folder, database):
    """As docs/how-to/backup-and-restore.md says, with grep and zstd."""
    found = re.findall("[0-9a-f]{64}", (folder / f"{NAME}.parts").read_text())
    stored = [(folder / "chunks" / f"{name}.zst").read_bytes() for name in found]
    assert b"".join(map(zstd.decompress, stored)) == database.read_bytes()


def test_only_what_has_changed_is_written_again(backups, database, folder):
    backup = backups.take(database, NOW).backup
    before = chunks(folder)
    same = backups.take(database, NOW + timedelta(hours=1))
    assert (same.written, chunks(folder)) == (0, before)
    with closing(connect(database)) as connection, connection:
        connection.execute("UPDATE storage_apikey SET name = 'other'")
    changed = backups.take(database, NOW + timedelta(hours=2))
    assert 0 < changed.written < backup.bytes / 2
    new = chunks(folder) - before
    assert new
    assert len(new) < len(before)
    for name in backups.names():
        backups.verify(name)


def test_chunks_of_another_size_stay_readable(backups, database, monkeypatch):
    monkeypatch.setattr(module, "BYTES", 256 * 1024)
    backups.take(database, NOW)
    monkeypatch.undo()
    backups.verify(NAME)


def test_what_has_been_damaged_since_is_written_again(backups, database, folder, caplog):
    backups.take(database, NOW)
    damaged = sorted((folder / "chunks").iterdir())
    damaged[0].write_bytes(b"")
    damaged[1].unlink()
    damaged[2].unlink()
    damaged[2].symlink_to(damaged[2])  # which cannot be read, like what is in a bad sector
    backups.take(database, NOW + timedelta(hours=1))
    backups.verify(NAME)
    for chunk in (damaged[0], damaged[2]):
        assert f"{chunk.name} in BACKUP_DIR was damaged" in caplog.text


def test_the_manifest_says_what_is_in_it(backup, folder, database):
    content = json.loads((folder / f"{NAME}.json").read_bytes())["content"]
    assert content["tables"]["storage_chatinteraction"] == ROWS
    assert content["tables"]["storage_archivedinteraction"] == 1
    assert content["tables"]["storage_apikey"] == 1
    assert "storage.0001_initial" in content["schema"]
    assert content["taken_at"] == "2026-11-23T09:30:00.000000Z"
    assert content["expires_at"] == "2026-11-30T09:30:00.000000Z"
    assert content["bytes"] == database.stat().st_size
    assert content["sqlite_version"] == sqlite3.sqlite_version


def test_only_its_owner_reads_it(backup, folder):
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    paths = [path for path in folder.rglob("*") if path.is_file()]
    assert stat.S_IMODE((folder / "chunks").stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in paths} == {0o600}


def test_what_is_in_the_log_only_is_in_the_backup(backups, database, tmp_path):
    with closing(connect(database, isolation_level=None)) as writer:
        writer.execute("PRAGMA journal_mode = WAL")
        writer.execute("UPDATE storage_chatinteraction SET response = 'in the log'")
        made = backups.take(database, NOW).backup
        with closing(connect(plain(backups, made, tmp_path / "plain"))) as copy:
            sql = "SELECT DISTINCT response FROM storage_chatinteraction"
            assert copy.execute(sql).fetchall() == [("in the log",)]


def test_a_writer_in_the_middle_of_a_transaction_is_not_waited_for(backups, database, tmp_path):
    with closing(connect(database, isolation_level=None)) as writer:
        writer.execute("PRAGMA journal_mode = WAL")
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("DELETE FROM storage_chatinteraction")
        made = backups.take(database, NOW).backup
        assert ids(plain(backups, made, tmp_path / "plain")) == ALL


# What does not count


def test_what_a_crash_has_left_does_not_count_and_goes_with_the_next_run(
    backups, backup, folder, database
):
    other = "backup-20261122T093000.000000Z"
    left = [f"{other}.sqlite3", f"{other}.sqlite3.partial", f"{other}.sqlite3.partial-wal"]
    left += [f"{other}.json.partial", f"{NAME}.sqlite3.partial", f"{NAME}.sqlite3-journal"]
    left += [f"{other}.incomplete", f"{other}.parts"]
    orphans = [f"{'0' * 64}.zst", f"{'1' * 64}.zst.partial.1"]
    for name in [*left, *(f"chunks/{name}" for name in orphans)]:
        (folder / name).write_bytes(b"x")
    (folder / "notes.txt").write_text("mine")
    assert backups.names() == [NAME]
    backups.take(database, NOW + timedelta(hours=1))
    assert not set(left) & set(listed(folder))
    assert not set(orphans) & set(listed(folder / "chunks"))
    assert (folder / "notes.txt").exists()
    backups.verify(NAME)


@pytest.mark.parametrize("step", ["read", "compress", "examine", "dump_parts"])
@pytest.mark.parametrize("errno", [28, 5])
def test_a_run_that_fails_leaves_nothing(backups, database, folder, monkeypatch, step, errno):
    def fail(*arguments):
        raise OSError(errno, os.strerror(errno))

    owner = {"read": snapshot, "compress": zstd, "examine": module, "dump_parts": manifests}[step]
    monkeypatch.setattr(owner, step, fail)
    expected = StorageFull if errno == 28 else BackupRefused
    with pytest.raises(expected, match="The backup cannot be written"):
        backups.take(database, NOW)
    assert set(listed(folder)) <= {".lock", "chunks"}
    assert list(folder.glob("chunks/*")) == []
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
    made, deleted, *_ = backups.take(database, NOW + KEEP - timedelta(microseconds=1))
    assert deleted == []
    later, deleted, *_ = backups.take(database, NOW + KEEP)
    assert deleted == [NAME]
    assert backups.names() == [made.name, later.name]
    assert not list(folder.glob(f"{NAME}*"))


def test_without_a_new_one_none_goes(backups, backup, database, monkeypatch):
    def fail(*arguments):
        raise OSError(28, "full")

    monkeypatch.setattr(snapshot, "read", fail)
    with pytest.raises(StorageFull):
        backups.take(database, NOW + 2 * KEEP)
    assert backups.names() == [NAME]
    backups.verify(NAME)


def test_one_whose_manifest_is_damaged_expires_as_well(backups, backup, database, folder):
    (folder / f"{NAME}.json").write_text("{}")
    backups.take(database, NOW + timedelta(days=1))
    deleted = backups.take(database, NOW + KEEP).deleted
    assert deleted == [NAME]


def test_the_two_newest_stay_however_old_they_are(backups, backup, database):
    second = backups.take(database, NOW + timedelta(days=1)).backup
    third, deleted, *_ = backups.take(database, NOW + 100 * KEEP)
    assert deleted == [NAME]
    assert backups.names() == [second.name, third.name]


class OutOfTime(Exception):
    """The time is up."""


def test_it_is_stopped_when_the_time_is_up_and_leaves_nothing(
    backups, backup, database, folder, monkeypatch
):
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
        assert listed(folder) == FILES


def test_ctrl_c_while_sqlite_looks_is_no_damage(database, monkeypatch):
    """SQLite drops what is raised in the function that it calls, and says "interrupted"."""
    monkeypatch.setattr(inspection, "INSTRUCTIONS", 100)
    with pytest.raises(KeyboardInterrupt):
        inspection.examine(database, lambda: signal.raise_signal(signal.SIGINT))


def test_fewer_days_hold_for_older_ones_and_more_days_do_not(backup, folder, database):
    assert dict(BackupFolder(folder, timedelta(days=2)).copies()) == {NAME: NOW + timedelta(days=2)}
    assert dict(BackupFolder(folder, timedelta(days=90)).copies()) == {NAME: NOW + KEEP}


def test_one_that_is_being_made_is_among_the_copies(backups, backup, folder):
    (folder / "backup-20261124T093000.000000Z.incomplete").write_bytes(b"")
    assert dict(backups.copies()) == {
        NAME: NOW + KEEP,
        "backup-20261124T093000.000000Z": NOW + timedelta(days=8),
    }


# Two at once


def test_nobody_deletes_what_is_being_read(backups, backup, database, monkeypatch):
    monkeypatch.setattr(files, "WAIT_SECONDS", 0.2)
    with backups.reading(), pytest.raises(BackupRefused, match="try again"):
        backups.take(database, NOW + KEEP)
    backups.take(database, NOW + timedelta(days=1))
    backups.take(database, NOW + KEEP)
    with pytest.raises(BackupRefused, match=f"There is no backup {NAME}"):
        backups.named(NAME)


def test_two_that_read_do_not_wait(backups, backup):
    with backups.reading(), backups.reading():
        backups.verify(NAME)


def test_one_is_verified_twice_at_once_by_processes_of_the_same_number(backups, backup):
    """As in two containers, each of which has its own numbers."""
    others = []

    def verify_meanwhile():
        if not others:
            others.append(None)
            others[0] = backups.verify(backup.name)

    assert backups.verify(backup.name, verify_meanwhile) == backup
    assert others == [backup]


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
    made = backups.take(database, NOW + timedelta(hours=1)).backup
    (folder / "backup-20271123T093000.000000Z.sqlite3").write_bytes(b"no manifest")
    assert backups.named("latest") == made.name
    assert backups.named(f"{NAME}.parts") == backups.named(f"{NAME}.json") == NAME


@pytest.mark.parametrize("name", ["latest", "../secret", "", NAME])
def test_an_unknown_name_is_refused(backups, folder, name):
    folder.mkdir()
    with pytest.raises(BackupRefused, match="There is no backup"):
        backups.named(name)


def test_an_unknown_name_is_answered_with_those_that_there_are(backups, backup):
    with pytest.raises(BackupRefused, match=rf"no backup yesterday in .*The newest are {NAME}\."):
        backups.named("yesterday")


def test_a_manifest_of_another_backup_is_refused(backups, backup, folder):
    other = "backup-20261124T093000.000000Z"
    for suffix in (".json", ".parts"):
        durable.copy(folder / f"{NAME}{suffix}", folder / f"{other}{suffix}")
    with pytest.raises(BackupDamaged, match=rf"{other}\.json"):
        backups.verify(other)
