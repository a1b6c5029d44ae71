"""Who uses a database file: a lock file beside it, of which the operating system lets go.

Every process that opens the database through this engine shares the lock until it ends. A restore,
which puts another file in the place of the database, takes it alone: whoever had the old file open
would go on to write there, and into a log that the new one would take for its own.
https://sqlite.org/howtocorrupt.html#_unlinking_or_renaming_a_database_file_while_in_use
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from sqlite3 import OperationalError

from storage.exceptions import StorageError

SUFFIX = ".in-use"
WAIT_SECONDS = 20.0
"""How long a process waits for the end of a restore before it is refused the database."""

POLL_SECONDS = 0.05

_held: dict[str, int] = {}
"""Descriptors of lock files by database. A forked child has them, too, and with them the locks."""


class DatabaseInUse(StorageError):
    """Another process has the database open."""


def hold(database: str) -> int:
    """Tell others that this process uses the database; gives the descriptor of the lock file.

    Raises OperationalError if the database is being restored for longer than WAIT_SECONDS.
    """
    held = _held.get(database)
    if held is not None:
        return held
    descriptor = _open(database)
    deadline = time.monotonic() + WAIT_SECONDS
    while not locked(descriptor, fcntl.LOCK_SH):
        if time.monotonic() > deadline:
            os.close(descriptor)
            raise OperationalError("The database is being restored; try again when that has ended.")
        time.sleep(POLL_SECONDS)
    kept = _held.setdefault(database, descriptor)
    if kept != descriptor:
        os.close(descriptor)  # another thread was first
    return kept


def hold_after_exec(database: str) -> None:
    """As `hold`; the program that this process becomes goes on to hold it."""
    os.set_inheritable(hold(database), True)


def release(database: str) -> None:
    """Tell others that this process has closed the database. A forked child may have it open."""
    descriptor = _held.pop(database, None)
    if descriptor is not None:
        os.close(descriptor)


@contextmanager
def alone(database: str) -> Iterator[None]:
    """Within, no other process opens the database. Raises DatabaseInUse if one has it open.

    This process must have closed it.
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


def _open(database: str) -> int:
    try:
        return os.open(f"{database}{SUFFIX}", os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise OperationalError(f"unable to open database file: {error.strerror}") from error


def locked(descriptor: int, how: int) -> bool:
    """Whether the lock was to be had at once."""
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
