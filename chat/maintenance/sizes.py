"""Space that only an operator can get back."""

from django.db import connections

from storage.interface import Storage
from storage.sql_errors import translated
from storage.sqlite.cold import LocalTiers

DATABASE = "default"
"""Django's alias of the SQL database."""


def kept_free(storage: Storage) -> int:
    """Bytes that are free in a SQLite database which was made without auto_vacuum.

    Only VACUUM, which lets nobody write meanwhile, would give them back. 0 for any other.
    """
    if not isinstance(storage, LocalTiers):
        return 0
    with translated:
        return 0 if _pragma("auto_vacuum") else _pragma("freelist_count") * _pragma("page_size")


def _pragma(name: str) -> int:
    with connections[DATABASE].cursor() as cursor:
        cursor.execute(f"PRAGMA {name}")
        return int(cursor.fetchone()[0])
