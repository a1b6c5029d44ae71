"""The file of a database as it is at one moment, while others write.

# Note [A pinned file]

In WAL mode a commit goes to the log, and a checkpoint copies it to the file. SQLite never copies
what is newer than the oldest transaction that reads (https://sqlite.org/wal.html#concurrency: "the
checkpoint can only go as far as the oldest reader"). So, once everything up to a reader's snapshot
was copied, the file is that snapshot, and stays so until the reader ends:

1. A writer takes the write lock, so that the log has a known end; a reader begins there; the length
   of the log is noted; the writer lets go, after some milliseconds.
2. Checkpoints go on until they have copied that much. Since the reader has begun, the log cannot
   start over, so its frames keep their numbers.

The case in which everything is copied already when the reader begins is the safe one, too: then
the reader locks the file against checkpoints, and the log may start over. A checkpoint that is
under way in another process copies nothing that is newer than the reader: when the reader has its
lock, SQLite makes it look again whether somebody has committed meanwhile.

The file may be longer than the database, because a database that has shrunk is cut off only by a
checkpoint that copies the whole log. It is read up to the number of pages that the reader sees.

Without WAL mode the reader's lock keeps writers from the file.
"""

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from storage.backups.inspection import connected
from storage.exceptions import StorageUnavailable
from storage.sqlite import database_file, turns

WAIT_SECONDS = 20.0
"""How long to wait for writers."""

ATTEMPT_SECONDS = 2.0
"""How long to wait for earlier readers before a new snapshot is tried: they may be gone by then."""

GIVE_UP_SECONDS = 60.0
POLL_SECONDS = 0.02


@contextmanager
def pinned(database: Path) -> Iterator[int]:
    """Within this block the file is one consistent database; yields its length in bytes.

    What follows in the file does not belong to it. Nobody waits, but the write-ahead log grows
    until the block ends. Raises StorageUnavailable if earlier transactions keep on reading.
    """
    give_up = time.monotonic() + GIVE_UP_SECONDS
    with connected(database) as reader:
        while not _pin(database, reader):
            reader.rollback()
            if time.monotonic() > give_up:
                raise StorageUnavailable(
                    "No backup was made: a transaction has been reading the database for longer "
                    f"than {GIVE_UP_SECONDS:.0f} seconds. End the program that does, and try again."
                )
            time.sleep(POLL_SECONDS)
        yield _value(reader, "page_count") * _value(reader, "page_size")
        reader.rollback()


def read(database: Path, length: int, at_once: int) -> Iterator[bytes]:
    """The first `length` bytes of a pinned file. If there are fewer, zeros follow, as in SQLite."""
    descriptor = database_file.descriptor(str(database))
    for offset in range(0, length, at_once):
        wanted = min(at_once, length - offset)
        yield os.pread(descriptor, wanted, offset).ljust(wanted, b"\0")


def _pin(database: Path, reader: sqlite3.Connection) -> bool:
    """Whether the file now is what the reader sees."""
    with connected(database) as other:
        if other.execute("PRAGMA journal_mode").fetchone() != ("wal",):
            _begin(reader)
            return True
        _checkpoint(database, other)  # before anybody has to wait
        with _write_lock(database):
            _begin(reader)
            _, end, copied = other.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        if end < 0:  # another process is making a checkpoint
            return False
        deadline = time.monotonic() + ATTEMPT_SECONDS
        while copied < end and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
            copied = _checkpoint(database, other)
        return bool(copied >= end)


def _begin(reader: sqlite3.Connection) -> None:
    reader.execute("BEGIN")
    reader.execute("SELECT COUNT(*) FROM sqlite_schema").fetchone()


def _checkpoint(database: Path, connection: sqlite3.Connection) -> int:
    """Copy what can be copied. Returns how many frames of the log are copied, or -1."""
    with _turn(database):
        return int(connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()[2])


@contextmanager
def _write_lock(database: Path) -> Iterator[None]:
    with _turn(database), connected(database, WAIT_SECONDS) as writer:
        writer.execute("BEGIN IMMEDIATE")
        yield
        writer.rollback()


@contextmanager
def _turn(database: Path) -> Iterator[None]:
    """As all writers of this process do, for the reason that `write_lock` gives."""
    turn = turns.turn(str(database))
    try:
        if not turn.come(WAIT_SECONDS):
            raise sqlite3.OperationalError(f"database is locked: others took {WAIT_SECONDS:g} s")
        yield
    finally:
        turn.end()


def _value(connection: sqlite3.Connection, pragma: str) -> int:
    return int(connection.execute(f"PRAGMA {pragma}").fetchone()[0])
