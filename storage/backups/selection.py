"""Which backups there are."""

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import connections

from storage.backups.base import Backups, Copy
from storage.backups.files import BackupRefused
from storage.backups.sql import SqlBackups
from storage.sql.vendors import is_postgresql
from storage.startup.selection import configured_client, is_production

if TYPE_CHECKING:
    from storage.backups.table import TableBackups


ELSEWHERE = (
    "The SQL database is in PostgreSQL, which this command neither backs up nor restores: use its "
    "provider's backups, or pg_dump and pg_restore, and then restore --erase-again."
)

IN_POSTGRESQL = "PostgreSQL: rows until VACUUM, write-ahead log, backups"
"""What keeps deleted rows of a PostgreSQL for a time that only its operator knows."""


def get_backups() -> list[Backups]:
    """The backups that are made here: of the SQL database, and in production of the table.

    A PostgreSQL is backed up by its own means.
    """
    found: list[Backups] = [] if is_postgresql() else [sql_backups()]
    return [*found, table_backups()] if is_production() else found


def all_copies() -> list[Copy]:
    """All copies, in whatever backup, that may hold what is deleted now."""
    found = [copy for backups in get_backups() for copy in backups.copies()]
    return [*found, Copy(IN_POSTGRESQL, None)] if is_postgresql() else found


def backed_up_elsewhere() -> str | None:
    """In one line, why there are no backups of the SQL database here; None if there may be."""
    return ELSEWHERE if is_postgresql() else None


def sql_backups() -> SqlBackups:
    """The backups of the SQL database. Raises BackupRefused if it is in PostgreSQL."""
    if is_postgresql():
        raise BackupRefused(ELSEWHERE)
    return SqlBackups(
        _database(),
        settings.BACKUP_DIR,
        timedelta(days=settings.BACKUP_KEEP_DAYS),
        has_interactions=not is_production(),
    )


def table_backups() -> "TableBackups":
    """The backups of the table that settings name, whichever database is in use."""
    from storage.backups.table import TableBackups  # only who uses DynamoDB needs its client

    return TableBackups(settings.DYNAMODB_TABLE, configured_client)


def _database() -> Path:
    return Path(connections["default"].settings_dict["NAME"])
