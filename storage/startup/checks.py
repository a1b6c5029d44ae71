"""System checks: what would go wrong later, said at start, each with its remedy."""

import sqlite3
from typing import Any

from django.core import checks
from django.db import connections

from storage.sqlite.base import DatabaseWrapper
from storage.sqlite.library import has_wal_reset_bug


@checks.register(checks.Tags.compatibility)
def check_sqlite_library(**kwargs: Any) -> list[checks.CheckMessage]:
    """storage.E001: the SQLite library must be one that cannot corrupt a WAL database."""
    if not has_wal_reset_bug(sqlite3.sqlite_version_info):
        return []
    return [
        checks.Error(
            f"The SQLite library {sqlite3.sqlite_version} can corrupt a database in WAL mode.",
            hint="Install pysqlite3 from requirements/base.txt, which brings a library with the "
            "fix; config/__init__.py puts it in the place of sqlite3. Or use SQLite 3.51.3 "
            "or later (or 3.50.7, or 3.44.6).",
            id="storage.E001",
        )
    ]


@checks.register(checks.Tags.compatibility)
def check_sqlite_engine(**kwargs: Any) -> list[checks.CheckMessage]:
    """storage.E002: the default database must use the pooled engine with its safe settings."""
    connection = connections["default"]
    options = connection.settings_dict["OPTIONS"]
    if isinstance(connection, DatabaseWrapper) and options.get("transaction_mode") == "IMMEDIATE":
        return []
    return [
        checks.Error(
            "The default database does not use the pooled SQLite engine with IMMEDIATE "
            "transactions: writers would fail with 'database is locked'.",
            hint='Set ENGINE = "storage.sqlite" and OPTIONS["transaction_mode"] = "IMMEDIATE".',
            id="storage.E002",
        )
    ]
