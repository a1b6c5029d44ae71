"""What SQLite and Django's ORM raise, as the errors of the storage interface."""

from sqlite3 import SQLITE_FULL

from django.db.utils import DatabaseError

from storage.exceptions import StorageFull, StorageUnavailable


class Translated:
    """Raises StorageFull or StorageUnavailable for a database error, with the cause chained."""

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, DatabaseError):
            raise translate(error) from error


translated = Translated()


def translate(error: DatabaseError) -> StorageFull | StorageUnavailable:
    """The storage error that says the same as `error`."""
    if getattr(error.__cause__, "sqlite_errorcode", None) == SQLITE_FULL:
        return StorageFull("The disk with the database is full.")
    return StorageUnavailable("The database did not do what was asked; see the cause.")
