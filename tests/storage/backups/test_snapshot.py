"""A pinned file is exactly what its reader sees, whatever writers and checkpoints do meanwhile.

tests/storage/backups/test_writers.py looks at it while four processes write.
"""

import sqlite3
from contextlib import closing

import pytest

from storage.backups import inspection, snapshot
from storage.exceptions import StorageUnavailable
from tests.sqlite import connect
from tests.storage.backups.conftest import ALL, ids


@pytest.fixture
def writer(database):
    """Another program, which makes its own checkpoints."""
    with closing(connect(database, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        yield connection


def content(database, length):
    return b"".join(snapshot.read(database, length, 1 << 20))


def test_nothing_newer_gets_into_the_file(database, writer):
    with snapshot.pinned(database) as length:
        before = content(database, length)
        writer.execute("DELETE FROM storage_chatinteraction")
        assert writer.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()[2] == 0
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            writer.execute("PRAGMA journal_mode = DELETE")
        assert content(database, length) == before
    assert writer.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()[2] > 0
    assert content(database, length) != before


def test_an_earlier_reader_is_waited_for(database, writer, monkeypatch, tmp_path):
    """What was committed since it began is not in the file yet."""
    monkeypatch.setattr(snapshot, "GIVE_UP_SECONDS", 0.2)
    with closing(connect(database, isolation_level=None)) as earlier:
        earlier.execute("BEGIN")
        earlier.execute("SELECT COUNT(*) FROM storage_lock").fetchall()
        writer.execute("DELETE FROM storage_chatinteraction WHERE interaction_id = 'id-1'")
        refused = pytest.raises(StorageUnavailable, match="has been reading the database")
        with refused, snapshot.pinned(database):
            pass
    with snapshot.pinned(database) as length:
        (tmp_path / "copy").write_bytes(content(database, length))
    assert ids(tmp_path / "copy") == ALL - {"id-1"}


def test_a_database_that_shrinks_is_read_up_to_its_last_page(database, writer, tmp_path):
    writer.execute("UPDATE storage_chatinteraction SET response = randomblob(20000)")
    writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    long = database.stat().st_size
    with closing(connect(database, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT COUNT(*) FROM storage_lock").fetchall()
        writer.execute("DELETE FROM storage_chatinteraction WHERE interaction_id > 'id-3'")
        writer.execute("PRAGMA incremental_vacuum")
        reader.execute("ROLLBACK")
    with snapshot.pinned(database) as length:
        writer.execute("UPDATE storage_apikey SET name = 'later'")
        assert length < long
        (tmp_path / "copy").write_bytes(content(database, length))
        inspection.check(database)
    inspection.check(tmp_path / "copy")
    assert ids(tmp_path / "copy") == {each for each in ALL if each <= "id-3"}


def test_without_a_log_writers_wait(database):
    with closing(connect(database, isolation_level=None, timeout=0)) as writer:
        writer.execute("PRAGMA journal_mode = DELETE")
        with snapshot.pinned(database) as length:
            assert content(database, length) == database.read_bytes()
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                writer.execute("DELETE FROM storage_lock")
        writer.execute("DELETE FROM storage_lock")
