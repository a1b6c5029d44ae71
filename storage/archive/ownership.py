"""Which archive a database has used.

The archive has an identity in a document of its own, and the database remembers it as the owner of
a lock, because every backend has locks that are taken in one step and by one owner only.
"""

import math
from typing import Any

from storage.archive.archive import Archive
from storage.database import Database

NAME = "archive.json"
"""The document with the archive's identity."""

IDENTITY, DATABASE = "identity", "database"
"""What it has: the identity, and the name of the database that it belongs to, if that has one."""

LOCK = "archive"
"""The lock by which the database remembers the identity."""

FOR_EVER = math.inf
"""Seconds until that lock ends: it never does."""


def has_used_another(database: Database, archive: Archive) -> bool:
    """Whether the database has used another archive than this one. Not if it has used none."""
    remembered = database.lock_owner(LOCK, FOR_EVER)
    return remembered is not None and remembered != document_of(archive).get(IDENTITY)


def document_of(archive: Archive) -> dict[str, Any]:
    """What the archive says of itself, or nothing."""
    return archive.files.read_document(NAME) or {}
