"""Which backups there are."""

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import connections

from storage.backups.base import Backups, Copy
from storage.backups.sql import SqlBackups
from storage.startup.selection import configured_client, is_production

if TYPE_CHECKING:
    from storage.backups.table import TableBackups


def get_backups() -> list[Backups]:
    """The backups of all databases in use: the SQL database, and in production the table."""
    return [sql_backups(), table_backups()] if is_production() else [sql_backups()]


def all_copies() -> list[Copy]:
    """All copies, in whatever backup, that may hold what is deleted now."""
    return [copy for backups in get_backups() for copy in backups.copies()]


def sql_backups() -> SqlBackups:
    """The backups of the SQL database."""
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
