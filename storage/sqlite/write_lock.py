"""One process at a time writes, by a lock on a file beside the database.

It is taken for two reasons. With several server processes, SQLite's own busy handler lets a writer
wait for seconds, because it sleeps longer each time and the others do not queue; the operating
system wakes who waits for a lock on a file (docs/decisions/0036). And where the SQLite library has
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
import threading

from django.conf import settings

from storage.sqlite.in_use import locked
from storage.sqlite.library import has_wal_reset_bug

NEEDED = has_wal_reset_bug(sqlite3.sqlite_version_info)
"""Whether writes are unsafe without it."""

SUFFIX = ".writing"

_files: dict[str, int] = {}
"""A descriptor of the lock file for each database. The threads of a process share it."""

_waiting: set[int] = set()
"""Descriptors of those who wait, or who had to wait for the lock that they hold."""

_process = 0
"""Whose files these are."""


def is_taken() -> bool:
    """Whether writers of this process take the lock."""
    return NEEDED or settings.WORKERS > 1


def take(database: str, seconds: float) -> int | None:
    """Wait until no other process writes to this database.

    Returns what `give_back` needs, or None if the lock did not come in time. Call it in one thread
    at a time.
    """
    global _process
    _process = os.getpid()
    if database not in _files:
        _files[database] = _opened(database)
    descriptor = _files[database]
    if locked(descriptor, fcntl.LOCK_EX):
        return descriptor
    if seconds <= 0:
        return None
    waiter = _Waiter(_opened(database))
    waiter.start()
    return waiter.descriptor if waiter.has_come_within(seconds) else None


def give_back(descriptor: int) -> None:
    """Let other processes write.

    A forked child may collect a turn of its parent, and shares the lock: it must leave it alone.
    """
    if os.getpid() != _process:
        return
    fcntl.flock(descriptor, fcntl.LOCK_UN)  # closing it is not enough if a child has it, too
    if descriptor in _waiting:
        _waiting.discard(descriptor)
        os.close(descriptor)


def forget() -> None:
    """In a forked child: the files are its parent's, and so are their locks."""
    for descriptor in [*_files.values(), *_waiting]:
        os.close(descriptor)
    _files.clear()
    _waiting.clear()


class _Waiter(threading.Thread):
    """Waits for the lock. The call that does so knows no limit of time, and nothing interrupts it.

    It has a descriptor of its own, so that whoever gives up need not wait for it.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__(name="write-lock", daemon=True)
        self.descriptor = descriptor
        self._has_come = threading.Event()
        self._is_given_up = False
        self._mutex = threading.Lock()
        _waiting.add(descriptor)

    def has_come_within(self, seconds: float) -> bool:
        """Whether the lock has come in time. If not, it is given back when it comes."""
        has_come = False
        try:
            has_come = self._has_come.wait(seconds)
        finally:
            if not has_come:
                with self._mutex:
                    self._is_given_up = True
                    if self._has_come.is_set():
                        give_back(self.descriptor)
        return has_come

    def run(self) -> None:
        fcntl.flock(self.descriptor, fcntl.LOCK_EX)
        with self._mutex:
            self._has_come.set()
            if self._is_given_up:
                give_back(self.descriptor)


def _opened(database: str) -> int:
    try:
        flags = os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC
        return os.open(f"{database}{SUFFIX}", flags, 0o600)
    except OSError as error:
        raise sqlite3.OperationalError(f"unable to open database file: {error.strerror}") from error
