"""One process at a time writes, by a lock on a file beside the database.

It is taken for two reasons. With many server processes, SQLite's own busy handler lets a writer
wait for seconds, because it sleeps longer each time while others come and go
(docs/decisions/0036). And where the SQLite library has
the WAL-reset bug (storage/sqlite/library.py), two connections must not write or checkpoint at the
same moment.

In a process, writers take turns (`storage.sqlite.turns`). The lock is held for the turn: for a
whole transaction, with the checkpoint that SQLite makes at its end. When the last connection to
the database is closed, SQLite checkpoints under its own exclusive lock. Other programs do not know
of this lock; where the library has the bug they must not write.

The lock of a process that is killed is free at once.
"""

import fcntl
import os
import sqlite3
import time

from django.conf import settings

from storage.sqlite import modes
from storage.sqlite.in_use import locked
from storage.sqlite.library import has_wal_reset_bug

NEEDED = has_wal_reset_bug(sqlite3.sqlite_version_info)
"""Whether writes are unsafe without it."""

SUFFIX = ".writing"

MANY_WORKERS = 4
"""Server processes from which on they take it: with 2, half the rate was its price."""

PAUSE_SECONDS = 0.002
"""Between two attempts. SQLite's own are up to 0.1 s apart, and longer each time."""

_files: dict[str, int] = {}
"""A descriptor of the lock file for each database. The threads of a process share it."""

_process = 0
"""Whose files these are."""


def is_taken() -> bool:
    """Whether writers of this process take the lock."""
    return NEEDED or settings.WORKERS >= MANY_WORKERS


def take(database: str, seconds: float) -> bool:
    """Wait until no other process writes to this database. Returns whether that came in time.

    It asks again and again: a call that waits for the lock knows no limit of time, and a thread
    that waits in our place has to be woken before us, while the lock is idle.
    """
    global _process
    _process = os.getpid()
    if database not in _files:
        _files[database] = _opened(database)
    descriptor, end = _files[database], time.monotonic() + seconds
    while not locked(descriptor, fcntl.LOCK_EX):
        if time.monotonic() >= end:
            return False
        time.sleep(PAUSE_SECONDS)
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


def _opened(database: str) -> int:
    try:
        return modes.open_lock(database, SUFFIX)
    except OSError as error:
        raise sqlite3.OperationalError(f"unable to open database file: {error.strerror}") from error
