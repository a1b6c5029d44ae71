"""What a SQL database and Django's ORM raise, as the errors of the storage interface."""

import sqlite3

from django.db.utils import DatabaseError

from storage.exceptions import StorageFull, StorageUnavailable


class Translated:
    """Raises StorageFull or StorageUnavailable for a database error, with the cause chained."""

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, DatabaseError | sqlite3.Error):
            raise translate(error) from error


translated = Translated()


def translate(error: DatabaseError | sqlite3.Error) -> StorageFull | StorageUnavailable:
    """The storage error that says the same as `error`."""
    driver_error = error if isinstance(error, sqlite3.Error) else error.__cause__
    if getattr(driver_error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
        return StorageFull("The disk with the database is full.")
    return StorageUnavailable(f"The database did not do what was asked: {driver_error}.")
