"""The write-ahead log stays bounded, whatever reads and whatever fails meanwhile."""

import resource
import threading
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from django.db import connection

from storage.sqlite import database as sqlite_storage
from storage.sqlite import wal
from tests.sqlite import connect

MIB = 1024 * 1024
WRITTEN = 12 * MIB
ROW = 30_000
READ_SECONDS = 0.01


@pytest.fixture
def database(transactional_db):
    """The path of the test database, whose log is empty whatever other tests have written."""
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return Path(connection.settings_dict["NAME"])


def read_without_end(database, stop, reading):
    """Two readers, one of which is always in the middle of a transaction."""
    with closing(connect(database)) as one, closing(connect(database)) as other:
        while not stop.is_set():
            one.execute("BEGIN").execute("SELECT count(*) FROM sqlite_master").fetchall()
            other.rollback()
            reading.set()
            stop.wait(READ_SECONDS)
            one, other = other, one


@contextmanager
def readers(database):
    """Reads without end, in a thread."""
    stop, reading = threading.Event(), threading.Event()
    thread = threading.Thread(target=read_without_end, args=(database, stop, reading))
    thread.start()
    try:
        assert reading.wait(300)
        yield
    finally:
        stop.set()
        thread.join()


def highest(database, storage, make_interaction):
    """The most bytes that the log has while interactions are saved."""
    log = Path(f"{database}-wal")
    sizes = []
    with readers(database):
        for _ in range(WRITTEN // ROW):
            storage.save_interaction_sync(make_interaction(response="x" * ROW))
            sizes.append(log.stat().st_size)
    return max(sizes)


def test_the_log_is_cut_back_although_someone_always_reads(
    database, storage, make_interaction, monkeypatch
):
    monkeypatch.setattr(wal, "LIMIT", MIB)
    monkeypatch.setattr(wal, "WAIT_MS", 10_000)  # a busy machine may pause a reader for long
    between_two_looks = sqlite_storage.WRITES_PER_LOG_CHECK * 3 * ROW  # indexes included
    assert highest(database, storage, make_interaction) < MIB + between_two_looks


def test_without_being_cut_back_the_log_would_grow(
    database, storage, make_interaction, monkeypatch
):
    # The control: SQLite's own checkpoints do not stop it.
    monkeypatch.setattr(wal, "LIMIT", 1024 * MIB)
    assert highest(database, storage, make_interaction) > WRITTEN


@contextmanager
def no_file_over(size):
    """Writes past `size` bytes of any file fail in this process."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_log_that_cannot_be_cut_back_fails_no_save(
    database, storage, make_interaction, monkeypatch
):
    """The save is committed by then; to report an error would be wrong."""
    monkeypatch.setattr(wal, "LIMIT", 1)
    monkeypatch.setattr(sqlite_storage, "WRITES_PER_LOG_CHECK", 1)
    with closing(connect(database)) as other:
        other.execute("VACUUM")  # with no free page, what is saved makes the file grow
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    batch = [make_interaction(response="x" * ROW) for _ in range(2)]
    with no_file_over(database.stat().st_size):
        storage.save_interaction_sync(make_interaction(interaction_id="one", response="x" * ROW))
        storage.create_interactions_sync(batch)
    assert len(storage.get_user_interactions_sync("ada", 10)) == 3
