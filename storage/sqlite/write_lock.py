"""One process at a time writes, where the SQLite library has the WAL-reset bug.

The bug needs two connections that write or checkpoint at the same moment
(storage/sqlite/library.py). In a process they take turns (`storage.sqlite.turns`). So this lock on
a file beside the database is held for the turn: for a whole transaction, with the checkpoint that
SQLite makes at its end. When the last connection to the database is closed, SQLite checkpoints
under its own exclusive lock. Other programs do not know of this lock, and must not write.
"""

import fcntl
import os
import sqlite3
import time

from storage.sqlite.in_use import locked
from storage.sqlite.library import has_wal_reset_bug

NEEDED = has_wal_reset_bug(sqlite3.sqlite_version_info)

SUFFIX = ".writing"
LONGEST_PAUSE = 0.025
"""Seconds between two attempts. SQLite's own are up to 0.1 s apart."""

_files: dict[str, int] = {}
"""A descriptor of the lock file for each database. The threads of a process share it."""


_process = 0
"""Whose files these are."""


def take(database: str, seconds: float) -> bool:
    """Wait until no other process writes to this database. Returns whether that came in time."""
    global _process
    _process = os.getpid()
    descriptor = _descriptor(database)
    end = time.monotonic() + seconds
    pause = 0.001
    while not locked(descriptor, fcntl.LOCK_EX):
        if time.monotonic() >= end:
            return False
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)
    return True


def give_back(database: str) -> None:
    """Let other processes write.

    A forked child may collect a turn of its parent, and shares the lock: it must leave it alone.
    """
    if os.getpid() == _process:
        fcntl.flock(_files[database], fcntl.LOCK_UN)


def forget() -> None:
    """In a forked child: the files are its parent's, and so are their locks."""
    for descriptor in _files.values():
        os.close(descriptor)
    _files.clear()


def _descriptor(database: str) -> int:
    if database not in _files:
        try:
            flags = os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC
            _files[database] = os.open(f"{database}{SUFFIX}", flags, 0o600)
        except OSError as error:
            raise sqlite3.OperationalError(
                f"unable to open database file: {error.strerror}"
            ) from error
    return _files[database]
