"""What there is on disk, asked of what keeps it."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.db import connections

from storage.archive.folder import ArchiveFolder
from storage.dynamodb import table
from storage.dynamodb.tiers import CloudTiers
from storage.interface import Storage
from storage.sql_errors import translated

DATABASE = "default"
"""Django's alias of the SQL database."""


@dataclass(frozen=True)
class Sizes:
    """Of a SQLite file, in bytes."""

    database: int
    log: int
    """The write-ahead log beside it."""
    free: int
    """Within the database, for rows to come."""
    gives_back: bool
    """Whether it gives free pages back to the file system: was made with auto_vacuum."""
    disk_free: int


def of_table(storage: Storage) -> dict[str, Any] | None:
    """What DynamoDB says of its table, as of some hours ago; None if it is not there."""
    if not isinstance(storage, CloudTiers):
        return None
    return table.counted(storage.client)
