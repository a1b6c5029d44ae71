"""What SQLite and Django's ORM raise, as the errors of the storage interface."""

from collections.abc import Iterator
from contextlib import contextmanager
from sqlite3 import SQLITE_FULL

from django.db.utils import DatabaseError

from storage.exceptions import StorageFull, StorageUnavailable


@contextmanager
def translated() -> Iterator[None]:
    """Raise StorageFull or StorageUnavailable for a database error, with the cause chained."""
    try:
        yield
    except DatabaseError as error:
        raise translate(error) from error


def translate(error: DatabaseError) -> StorageFull | StorageUnavailable:
    """The storage error that says the same as `error`."""
    if getattr(error.__cause__, "sqlite_errorcode", None) == SQLITE_FULL:
        return StorageFull("The disk with the database is full.")
    return StorageUnavailable("The database did not do what was asked; see the cause.")
