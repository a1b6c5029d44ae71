"""Which processes use a database file: they hold a lock on a file beside it.

Every process that opens the database through this engine holds a shared lock until it ends; then
the operating system releases it. A restore replaces the database file, and takes an exclusive lock.
A process that still had the old file open would go on writing to it, and to a log that the new file
would take for its own.
https://sqlite.org/howtocorrupt.html#_unlinking_or_renaming_a_database_file_while_in_use
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from sqlite3 import OperationalError

from storage.exceptions import StorageError
from storage.sqlite import modes

SUFFIX = ".in-use"
WAIT_SECONDS = 20.0
"""How long a process waits for the end of a restore before it gets an error."""

POLL_SECONDS = 0.05

_held: dict[str, int] = {}
"""Descriptors of lock files by database. A forked child inherits them, and with them the locks."""


class DatabaseInUse(StorageError):
    """Another process has the database open."""


def hold(database: str) -> int:
    """Register this process as a user of the database. Returns the descriptor of the lock file.

    Raises OperationalError if a restore of the database takes longer than WAIT_SECONDS.
    """
    held = _held.get(database)
    if held is not None:
        return held
    descriptor = _open(database)
    deadline = time.monotonic() + WAIT_SECONDS
    while not locked(descriptor, fcntl.LOCK_SH):
        if time.monotonic() > deadline:
            os.close(descriptor)
            raise OperationalError("The database is being restored. Try again when that has ended.")
        time.sleep(POLL_SECONDS)
    kept = _held.setdefault(database, descriptor)
    if kept != descriptor:
        os.close(descriptor)  # another thread was faster
    return kept


def hold_after_exec(database: str) -> None:
    """As `hold`, and the lock stays when this process replaces itself by another program."""
    os.set_inheritable(hold(database), True)


def release(database: str) -> None:
    """Report that this process has closed the database. A forked child may still have it open."""
    descriptor = _held.pop(database, None)
    if descriptor is not None:
        os.close(descriptor)


@contextmanager
def alone(database: str) -> Iterator[None]:
    """Keep other processes from opening the database. Raises DatabaseInUse if one has it open.

    Close it in this process first.
    """
    release(database)
    descriptor = _open(database)
    try:
        if not locked(descriptor, fcntl.LOCK_EX):
            raise DatabaseInUse(
                "A server or another command has the database open. Stop it, then try again."
            )
        _held[database] = descriptor
        yield
    finally:
        _held.pop(database, None)
        os.close(descriptor)


def is_used(database: str) -> bool:
    """Whether another process has the database open. Close it in this process first."""
    try:
        with alone(database):
            return False
    except DatabaseInUse:
        return True


def _open(database: str) -> int:
    try:
        return modes.open_lock(database, SUFFIX)
    except OSError as error:
        raise OperationalError(f"unable to open database file: {error.strerror}") from error


def locked(descriptor: int, how: int) -> bool:
    """Try to take a lock. Returns whether it was free."""
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
