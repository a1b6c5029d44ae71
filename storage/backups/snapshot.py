"""The file of a database as it is at one moment, while others write.

# Note [A pinned file]

In WAL mode a commit goes to the log, and a checkpoint copies it to the file. It never copies what
is newer than the oldest transaction that reads (https://sqlite.org/wal.html#ckpt). So the file is
what a reader sees, and stays so until the reader ends, as soon as all that the reader sees was
copied. It was, if a checkpoint that begins after the reader finds that it has copied all there is:
what it counts is at least what the reader sees, and what it copies at most. If somebody commits in
between, or an earlier reader is in the way, the two counts differ, and another reader is tried.

- The log cannot start over, and so be counted anew, while a reader uses it. A reader that began
  when all was copied uses the file alone, and keeps every checkpoint from it.
- A checkpoint that was under way in another process when the reader began copies nothing newer
  than the reader: SQLite begins anew if somebody has committed before the reader has its lock.
- The file may be longer than the database, because what a shrunken database has left is cut off
  only by a checkpoint that copies the whole log. It is read up to the last page that the reader
  sees.
- Without WAL mode the reader's lock keeps all writers from the file.

The zeros that an erasure writes over what is unallocated in a page do not wait for readers. They
change nothing that SQLite reads.
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

GIVE_UP_SECONDS = 60.0
"""How long to wait for earlier readers."""

POLL_SECONDS = 0.02


@contextmanager
def pinned(database: Path) -> Iterator[int]:
    """Within this block the file is one consistent database; yields its length in bytes.

    What follows in the file does not belong to it. Nobody waits, but the write-ahead log grows
    until the block ends. Raises StorageUnavailable if earlier transactions keep on reading.
    """
    give_up = time.monotonic() + GIVE_UP_SECONDS
    with connected(database) as reader, connected(database) as other:
        while not _pin(str(database), reader, other):
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


def _pin(database: str, reader: sqlite3.Connection, other: sqlite3.Connection) -> bool:
    """Begin to read. Returns whether the file now is what the reader sees."""
    has_log = other.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    turn = turns.turn(database)  # see `write_lock`: a checkpoint writes
    try:
        if not turn.come(GIVE_UP_SECONDS):
            return False
        if has_log:
            _checkpoint(other)  # most of it, so that the next one is quick
        reader.execute("BEGIN")
        reader.execute("SELECT COUNT(*) FROM sqlite_schema").fetchone()
        if not has_log:
            return True
        all_frames, copied = _checkpoint(other)
        return 0 <= all_frames == copied  # both are -1 if another process makes a checkpoint
    finally:
        turn.end()


def _checkpoint(connection: sqlite3.Connection) -> tuple[int, int]:
    """Copy what can be copied. Returns how many frames the log has, and how many are copied."""
    _, all_frames, copied = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    return all_frames, copied


def _value(connection: sqlite3.Connection, pragma: str) -> int:
    return int(connection.execute(f"PRAGMA {pragma}").fetchone()[0])
