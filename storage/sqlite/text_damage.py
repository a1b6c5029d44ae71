"""What may be wrong with the file of the search index, whoever notices it."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from storage.exceptions import StorageFull, StorageUnavailable
from storage.sql.errors import translate


def damage(problem: str) -> sqlite3.DatabaseError:
    """The error of SQLite for a file that is no sound database."""
    error = sqlite3.DatabaseError(problem)
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return error


def is_damage(error: sqlite3.DatabaseError) -> bool:
    """Whether the file is no sound database."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


@contextmanager
def told_apart() -> Iterator[None]:
    """Errors of the index in this block do not read as if they were those of the database.

    The database's own are Django's by then.
    """
    try:
        yield
    except sqlite3.DatabaseError as error:
        raise _told(error) from error


def _told(error: sqlite3.DatabaseError) -> StorageFull | StorageUnavailable:
    if is_damage(error):
        return StorageUnavailable(
            "The search index was damaged, and is deleted. Run this again: it is made anew."
        )
    known = translate(error)
    if isinstance(known, StorageFull):
        return known
    return StorageUnavailable(f"The search index failed: {error}.")
