"""A restore gives exactly the backup, or changes nothing and says why."""

import hashlib
import os
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from datetime import timedelta

import pytest
from django.db import connections

from storage.backups import replacing, selection
from storage.backups.base import NotRestored, RestoredDatabase, RestoreReport
from storage.backups.files import BackupRefused
from storage.backups.manifests import BackupDamaged
from storage.backups.replacing import ALIAS
from storage.models import ChatInteraction, Lock
from storage.sqlite import in_use
from storage.sqlite.in_use import DatabaseInUse
from tests.chat import fork_server, processes
from tests.sqlite import connect
from tests.storage.backups.conftest import ALL, KEEP, NOW, ROWS, delete, ids, nothing, whole_file

LATER = NOW + timedelta(hours=1)


def restore(wanted="latest", now=LATER, before_live=nothing, **options):
    report = RestoreReport()
    selection.sql_backups().restore(
        wanted, now, report, before_live=before_live, stale_lock="lifecycle", **options
    )
    return report


def beside(database):
    """What lies beside the database, but for what is always there."""
    usual = {database.name, f"{database.name}{in_use.SUFFIX}", "backups"}
    return {path.name for path in database.parent.iterdir()} - usual


def opened_by_django(database):
    """What the pragmas are once Django has the file open."""
    with replacing._as_database(database), connections[ALIAS].cursor() as cursor:
        pragmas = ("journal_mode", "secure_delete", "auto_vacuum")
        return {name: cursor.execute(f"PRAGMA {name}").fetchone()[0] for name in pragmas}


def test_the_database_is_as_it_was_at_the_backup(backup, database):
    delete(database, "id-1", "id-2")
    report = restore()
    assert ids(database) == ALL
    assert report.name == backup.name
    assert report.rows > ROWS
    assert report.kept is None
    assert beside(database) == set()


def test_what_was_written_to_the_log_since_is_gone_and_not_applied(backup, database):
    with closing(connect(database, isolation_level=None)) as writer:
        writer.execute("PRAGMA journal_mode = WAL")
        writer.execute("PRAGMA wal_autocheckpoint = 0")
        writer.execute("DELETE FROM storage_chatinteraction")
        left = {name: (database.parent / name).read_bytes() for name in beside(database)}
    assert left.keys() == {f"{database.name}-wal", f"{database.name}-shm"}
    for name, content in left.items():  # as after kill -9
        (database.parent / name).write_bytes(content)
    restore()
    assert ids(database) == ALL
    assert beside(database) == set()


@pytest.fixture
def link(database, backup, tmp_path, monkeypatch):
    """The database, which is on another disk, as DATA_DIR has it."""
    link = tmp_path / "data_dir" / database.name
    link.parent.mkdir()
    link.symlink_to(database)
    monkeypatch.setattr(selection, "_database", lambda: link)
    yield link
    in_use.release(str(link))


def test_a_link_stays_and_the_database_that_it_leads_to_is_replaced(link, database):
    delete(database, "id-1", "id-2")
    before = database.stat().st_ino
    restore()
    assert link.is_symlink()
    assert ids(database) == ALL
    assert database.stat().st_ino != before
    assert beside(database) == {"data_dir"}
    assert list(link.parent.iterdir()) == [link]


def test_who_has_a_linked_database_open_by_either_name_keeps_a_restore_out(link, database):
    opened = in_use.hold(str(database))
    os.set_inheritable(opened, True)
    child = subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=[opened]
    )
    in_use.release(str(database))
    try:
        with pytest.raises(DatabaseInUse):
            restore()
    finally:
        child.communicate(b"\n")


def test_an_old_database_that_is_kept_is_beside_the_file_and_not_beside_the_link(link, database):
    report = restore(keep_old=True)
    assert report.kept.startswith(f"{database}.before-restore-")
    assert len(selection.sql_backups().copies()) == 2


@pytest.mark.parametrize(("before", "after"), [(0o644, 0o600), (0o640, 0o640), (0o600, 0o600)])
def test_what_is_restored_is_open_to_nobody_whom_the_operator_has_not_let_in(
    backup, database, before, after
):
    database.chmod(before)
    restore()
    assert stat.S_IMODE(database.stat().st_mode) == after


def test_django_finds_a_wal_database_with_the_right_pragmas(backup, database, durable):
    restore()
    assert database.read_bytes()[18:20] == b"\x02\x02"
    assert opened_by_django(database) == {
        "journal_mode": "wal",
        "secure_delete": 1,
        "auto_vacuum": 2,
    }
    with closing(connect(database)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_the_mode_of_the_file_stays(backup, database):
    database.chmod(0o640)
    restore()
    assert stat.S_IMODE(database.stat().st_mode) == 0o640


def test_a_database_that_is_gone_is_brought_back_for_its_owner_alone(backup, database):
    database.unlink()
    restore()
    assert ids(database) == ALL
    assert stat.S_IMODE(database.stat().st_mode) == 0o600


def test_the_log_of_a_database_that_is_destroyed_is_not_applied(backup, database):
    log = database.with_name(f"{database.name}-wal")
    with closing(connect(database, isolation_level=None)) as writer:
        writer.execute("PRAGMA journal_mode = WAL")
        writer.execute("DELETE FROM storage_chatinteraction")
        left = log.read_bytes()
    log.write_bytes(left)  # as after kill -9
    database.write_bytes(b"no database" * 1000)
    restore()
    assert ids(database) == ALL
    assert beside(database) == set()


@pytest.mark.parametrize("content", [b"", b"no database" * 1000])
def test_a_database_that_is_destroyed_is_brought_back(backup, database, content):
    database.write_bytes(content)
    restore()
    assert ids(database) == ALL
    assert beside(database) == set()


def test_one_with_damaged_pages_is_brought_back(backup, database):
    damaged = bytearray(database.read_bytes())
    damaged[4096:] = os.urandom(len(damaged) - 4096)
    database.write_bytes(damaged)
    restore()
    assert ids(database) == ALL


def test_what_is_kept_of_a_database_with_brackets_in_its_name_is_found(tmp_path):
    old = tmp_path / "chat[1].sqlite3.before-restore-20261123T093000.000000Z"
    old.touch()
    assert replacing.kept(tmp_path / "chat[1].sqlite3") == [(old, NOW)]


def test_the_old_one_is_kept_only_if_asked_for(backup, database):
    delete(database, "id-1")
    kept = restore(keep_old=True).kept
    assert kept.startswith(f"{database}.before-restore-")
    assert ids(kept) == ALL - {"id-1"}
    assert ids(database) == ALL
    assert not database.samefile(kept)
    assert {str(path) for path, _ in replacing.kept(database)} == {kept}


def test_another_name_of_a_database_in_use_does_not_stay(backup, database):
    """A restore that was killed between giving it and the exchange leaves one."""
    name = database.with_name(f"{database.name}.before-restore-20261123T093000.000000Z")
    name.hardlink_to(database)
    replacing.remove_leftovers(database)
    assert not name.exists()
    assert ids(database) == ALL


def test_locks_of_the_time_of_the_backup_are_not_restored(backups, database):
    with replacing._as_database(database):
        Lock.objects.using(ALIAS).create(name="lifecycle", owner="a", until=LATER)
    backups.take(database, NOW)
    in_use.release(str(database))
    restore()
    with replacing._as_database(database):
        assert not Lock.objects.using(ALIAS).exists()


# Before anyone reads


def test_the_hook_erases_from_the_copy_before_it_is_live(backup, database):
    seen = []

    def erase(restored):
        assert isinstance(restored, RestoredDatabase)
        seen.append(database.stat().st_ino)
        interaction = restored.storage.get_interaction_sync("id-3")
        assert interaction.message == "message 3"
        rows = ChatInteraction.objects.using(restored.alias)
        return rows.filter(pk__in=["id-3", "id-4"]).delete()[0]

    before = database.stat().st_ino
    assert restore(before_live=erase).erased == 2
    assert seen == [before], "until then the old one is there"
    assert database.stat().st_ino != before
    assert ids(database) == ALL - {"id-3", "id-4"}
    assert b"message 3\0" not in database.read_bytes()
    assert b"message 4" not in database.read_bytes()
    assert beside(database) == set()


def test_if_the_hook_fails_nothing_is_restored(backup, database):
    def fail(restored):
        ChatInteraction.objects.using(restored.alias).all().delete()
        raise RuntimeError("the ledger cannot be read")

    delete(database, "id-3")
    with pytest.raises(RuntimeError):
        restore(before_live=fail)
    assert ids(database) == ALL - {"id-3"}
    assert beside(database) == set()
    assert ALIAS not in connections.settings
    restore()
    assert ids(database) == ALL


# Refusals


def refused(database, error, match, **options):
    before = ids(database)
    with pytest.raises(error, match=match):
        restore(**options)
    assert ids(database) == before
    assert beside(database) == set()


def test_without_backups_there_is_nothing_to_restore(database, backups):
    refused(database, BackupRefused, "There is no backup")


def test_one_that_has_expired_needs_a_word(backup, database):
    delete(database, "id-1")
    refused(database, NotRestored, "expired at 2026-11-30", now=NOW + KEEP)
    restore(now=NOW + KEEP, expired=True)
    assert ids(database) == ALL


def test_a_chunk_that_is_missing_is_named_and_nothing_is_changed(backup, backups, database):
    chunk = backups.folder / "chunks" / f"{backups.parts(backup).chunks[-1]}.zst"
    content = chunk.read_bytes()
    chunk.unlink()
    refused(database, BackupDamaged, rf"chunks/{chunk.name} is damaged: it is missing")
    chunk.write_bytes(content[:-1])
    refused(database, BackupDamaged, rf"chunks/{chunk.name} is damaged")
    chunk.write_bytes(content)
    delete(database, "id-1")
    restore()
    assert ids(database) == ALL


def test_a_backup_of_an_earlier_version_is_restored_and_expires(backup, backups, database):
    file = whole_file(backups, backup, database)
    assert backups.verify(backup.name).sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    delete(database, "id-1", "id-2")
    assert restore().name == backup.name
    assert ids(database) == ALL
    for days in (1, 7):
        backups.take(database, NOW + timedelta(days=days))
    assert not list(backups.folder.glob(f"{backup.name}*"))
    assert len(backups.names()) == 2


def of_schema(backups, database, sql):
    """A backup of a database that another version of the code has made."""
    with closing(connect(database)) as connection, connection:
        connection.executescript(sql)
    backups.take(database, NOW)
    in_use.release(str(database))


NEWER = "INSERT INTO django_migrations (app, name, applied) VALUES ('storage', '9999_x', '2026')"
OLDER = """
    DROP TRIGGER text_inserted; DROP TRIGGER text_updated; DROP TRIGGER text_deleted;
    DROP TRIGGER text_archived; DROP TRIGGER text_removed;
    DROP TRIGGER usage_created; DROP TRIGGER usage_changed; DROP TRIGGER usage_moved;
    DROP TRIGGER usage_deleted; DROP TRIGGER usage_archived; DROP TRIGGER usage_stub_completed;
    DROP TRIGGER usage_stub_deleted;
    DROP TABLE storage_textchange; DROP TABLE storage_apikeyuse; DROP TABLE storage_auditentry;
    DROP TABLE storage_modelprice; DROP TABLE storage_streamposition;
    DROP TABLE storage_usageofmodel; DROP TABLE storage_usageofuser;
    DROP TABLE storage_usagerebuild; DROP TABLE storage_forgottenuser;
    DROP TABLE storage_intakecount;
    DROP INDEX interaction_text_object;
    ALTER TABLE storage_chatinteraction DROP COLUMN text_object;
    ALTER TABLE storage_archivedinteraction DROP COLUMN model_used;
    ALTER TABLE storage_apikey DROP COLUMN last_used_at;
    ALTER TABLE storage_apikey DROP COLUMN may_erase;
    DELETE FROM django_migrations WHERE app = 'storage' AND name >= '0005';
"""
OTHER = "DROP TABLE storage_lock"


def test_a_newer_schema_is_refused(backups, database):
    of_schema(backups, database, NEWER)
    refused(database, NotRestored, r"another version, which has storage\.9999_x")
    refused(database, NotRestored, "another version", migrate=True)


def test_an_older_schema_is_refused(backups, database):
    of_schema(backups, database, OLDER)
    refused(database, NotRestored, r"older version, without storage\.0005_may_erase.*--migrate")


def test_an_older_schema_is_brought_up_to_date_if_asked_for(backups, database):
    of_schema(backups, database, OLDER)
    restore(migrate=True)
    with closing(connect(database)) as connection:
        for sql in (
            "SELECT 1 FROM pragma_table_info('storage_apikey') WHERE name = 'may_erase'",
            "SELECT 1 FROM django_migrations WHERE name = '0005_may_erase'",
        ):
            assert connection.execute(sql).fetchall() == [(1,)]
    assert ids(database) == ALL
    assert beside(database) == set()


def test_one_without_the_tables_of_this_environment_is_refused(backups, database):
    of_schema(backups, database, OTHER)
    for dry_run in (True, False):
        reason = "no table storage_lock: it is of another ENVIRONMENT"
        refused(database, NotRestored, reason, dry_run=dry_run)


# While it is in use

HOLDER = """
import sys, config
from storage.sqlite import in_use
in_use.hold(sys.argv[1])
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def other_process(database):
    """Another process of this application has had the database open."""
    process = fork_server.Popen(
        ["-c", HOLDER, database], os.environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout.readline() == b"held\n"
    yield process
    process.communicate()


def test_while_another_process_uses_it_it_is_refused(backup, database, other_process):
    refused(database, DatabaseInUse, "A server or another command has the database open")
    other_process.kill()
    other_process.wait()
    restore()


def test_while_another_program_has_it_open_it_is_refused(backup, database, monkeypatch):
    monkeypatch.setattr(replacing, "WAIT_SECONDS", 0.2)
    with closing(connect(database, isolation_level=None)) as idle:
        idle.execute("PRAGMA journal_mode = WAL")
        idle.execute("SELECT 1 FROM storage_lock").fetchall()  # and does nothing since
        with pytest.raises(DatabaseInUse, match="Another program has the database open"):
            restore()
    restore()


def test_another_program_cannot_read_while_it_is_restored(backup, database):
    seen = []

    def look(restored):
        with closing(connect(database, timeout=0.1)) as connection:
            try:
                connection.execute("SELECT COUNT(*) FROM storage_lock").fetchall()
            except sqlite3.OperationalError as error:
                seen.append(str(error))
        return 0

    restore(before_live=look)
    assert seen == ["database is locked"]


WAITING = """
import config, manage
from storage.sqlite import in_use
locked = in_use.locked
def told(descriptor, how):
    is_free = locked(descriptor, how)
    if not is_free:
        print("waits", flush=True)
    return is_free
in_use.locked = told
manage.main()
"""


def test_a_command_that_starts_meanwhile_works_on_what_was_restored(backup, database):
    started = []

    def start(restored):
        command = ["-c", WAITING, "create_api_key", "meanwhile"]
        environment = processes.environment(database.parent)
        started.append(fork_server.Popen(command, environment, stdout=subprocess.PIPE))
        assert started[0].stdout.readline() == b"waits\n"
        return 0

    restore(before_live=start)
    started[0].communicate()
    assert started[0].returncode == 0
    with closing(connect(database)) as connection:
        found = connection.execute("SELECT name FROM storage_apikey").fetchall()
    assert sorted(found) == [("billing",), ("meanwhile",)]


def test_a_process_that_starts_meanwhile_waits_and_is_then_refused(backup, database):
    said = []

    def start(restored):
        program = (
            "import sys, config\n"
            "from storage.sqlite import in_use\n"
            "in_use.WAIT_SECONDS = 0.2\n"
            "in_use.hold(sys.argv[1])"
        )
        said.append(fork_server.run(["-c", program, database], os.environ).stderr.decode())
        return 0

    restore(before_live=start)
    assert "OperationalError: The database is being restored" in said[0]
