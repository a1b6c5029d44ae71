"""A database of the test's own, with rows, and a folder of backups."""

import hashlib
import shutil
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from django.core.cache import cache

from storage.archive import documents
from storage.backups import replacing, selection
from storage.backups.folder import BackupFolder
from storage.models import ApiKey, ArchivedInteraction, ChatInteraction
from storage.records.json import format_time
from storage.sqlite import in_use
from storage.startup.schema import migrate_under_lock
from tests.sqlite import connect

ROWS = 20
NOW = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)
KEEP = timedelta(days=7)


@pytest.fixture(scope="session")
def template(tmp_path_factory, django_db_blocker):
    """A database with all tables and some rows, in one file."""
    path = tmp_path_factory.mktemp("template") / "data.sqlite3"
    with django_db_blocker.unblock(), replacing._as_database(path):
        migrate_under_lock(replacing.ALIAS)
        fill(replacing.ALIAS)
    assert not path.with_name("data.sqlite3-wal").exists()
    return path


def fill(alias):
    """Interactions, a stub and an API key."""
    ChatInteraction.objects.using(alias).bulk_create(
        ChatInteraction(
            interaction_id=f"id-{number}",
            user_id="ada",
            message=f"message {number}",
            response="An answer.",
            model_used="model-1",
            created_at=NOW,
            updated_at=NOW,
        )
        for number in range(ROWS)
    )
    ArchivedInteraction.objects.using(alias).create(
        interaction_id="cold", created_at=NOW, segment="2026-09-01/x"
    )
    key = ApiKey(name="billing", prefix="p", hashed_key="h")
    key.save(using=alias)


@pytest.fixture
def database(template, tmp_path, monkeypatch, django_db_blocker):
    """A database like the template, which is the one that the commands work on."""
    path = tmp_path / "data.sqlite3"
    shutil.copy(template, path)
    monkeypatch.setattr(selection, "_database", lambda: path)
    # Django's own test database is not used here, and its tests allow no other.
    with django_db_blocker.unblock():
        yield path
    in_use.release(str(path))
    cache.clear()


@pytest.fixture
def folder(tmp_path, settings):
    """Where the commands keep backups."""
    settings.BACKUP_DIR = tmp_path / "backups"
    settings.BACKUP_KEEP_DAYS = KEEP.days
    return settings.BACKUP_DIR


@pytest.fixture
def backups(folder):
    return BackupFolder(folder, KEEP)


@pytest.fixture
def backup(backups, database):
    """A backup of the database."""
    made = backups.take(database, NOW).backup
    in_use.release(str(database))
    return made


def ids(database):
    """The ids of all interactions in a database file."""
    with closing(connect(database)) as connection:
        sql = "SELECT interaction_id FROM storage_chatinteraction"
        return {interaction_id for (interaction_id,) in connection.execute(sql)}


def plain(backups, backup, target):
    """The database of a backup as a file of its own."""
    target.unlink(missing_ok=True)
    backups.write_database(backup, target)
    return target


def whole_file(backups, backup, database):
    """Turns a backup into one as earlier versions made them: a database file and a manifest."""
    file = backups.folder / f"{backup.name}.sqlite3"
    shutil.copy(database, file)
    content = {
        "format": 1,
        "name": backup.name,
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "bytes": file.stat().st_size,
        "taken_at": format_time(backup.taken_at),
        "expires_at": format_time(backup.expires_at),
        "sqlite_version": backup.sqlite_version,
        "needs": {"secret_key": None, "archive": None},
        "tables": backup.content.tables,
        "hashes": {"storage_chatinteraction": "0" * 64},
        "schema": backup.content.schema,
    }
    (backups.folder / f"{backup.name}.json").write_bytes(documents.dumps(content))
    (backups.folder / f"{backup.name}.parts").unlink()
    shutil.rmtree(backups.folder / "chunks")
    return file


ALL = {f"id-{number}" for number in range(ROWS)}


def delete(database, *gone):
    """Delete interactions, as another program would."""
    with closing(connect(database)) as connection, connection:
        connection.execute("PRAGMA journal_mode = WAL")
        for interaction_id in gone:
            sql = "DELETE FROM storage_chatinteraction WHERE interaction_id = ?"
            connection.execute(sql, [interaction_id])


def nothing(restored):
    """A hook that erases nobody."""
    return 0
