"""Turns the errors of a SQL database and of Django's ORM into errors of the storage layer."""

import sqlite3

from django.db.utils import DatabaseError

from storage.exceptions import StorageFull, StorageUnavailable

DISK_FULL = "53100"
"""PostgreSQL's code."""

QUOTED = " with text "
"""Python's sqlite3 quotes a text after this that is not UTF-8. Errors are logged, and texts not."""


UNDECODED = "Could not decode to UTF-8"
"""How the message of that error begins."""


class Translated:
    """Raises StorageFull or StorageUnavailable in place of a database error, which is its cause."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, DatabaseError | sqlite3.Error):
            raise translate(error) from error


translated = Translated()


def translate(error: DatabaseError | sqlite3.Error) -> StorageFull | StorageUnavailable:
    """Returns the storage error for a database error."""
    driver_error = error if isinstance(error, sqlite3.Error) else error.__cause__
    if getattr(driver_error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
        return StorageFull("The disk with the database is full.")
    if getattr(driver_error, "sqlstate", None) == DISK_FULL:
        return StorageFull("The disk with the database is full.")
    reason = without_text(str(driver_error))
    return StorageUnavailable(f"The database failed: {reason}{_code(driver_error)}.")


def is_broken_text(error: DatabaseError) -> bool:
    """Whether a text that was read is not UTF-8: another program has written it."""
    return UNDECODED in str(error)


def without_text(message: str) -> str:
    """The message of an error of sqlite3 without what is stored."""
    return message.partition(QUOTED)[0]


def _code(driver_error: object) -> str:
    """The database's name of the error. "database is locked" alone can have five reasons."""
    name = getattr(driver_error, "sqlite_errorname", None) or getattr(
        driver_error, "sqlstate", None
    )
    return f" ({name})" if name else ""
