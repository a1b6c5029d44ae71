"""System checks for every environment. They find mistakes at start, and say what to do."""

import sqlite3
from typing import Any

from django.core import checks
from django.db import connections

from storage.sql.vendors import is_postgresql
from storage.sqlite.base import DatabaseWrapper
from storage.sqlite.library import has_wal_reset_bug


@checks.register(checks.Tags.compatibility, deploy=True)
def check_sqlite_library(**kwargs: Any) -> list[checks.CheckMessage]:
    """storage.W010: other programs that write could corrupt the database."""
    if is_postgresql() or not has_wal_reset_bug(sqlite3.sqlite_version_info):
        return []
    return [
        checks.Warning(
            f"The SQLite library {sqlite3.sqlite_version} can corrupt a database in WAL mode if "
            "two processes write at the same moment. The processes of this application take turns; "
            "other programs do not.",
            hint="Write to the database file with no other program while a server or a command "
            "runs. Or use a Python with SQLite 3.51.3 or later (or 3.50.7, or 3.44.6), or a "
            "platform with a wheel of pysqlite3: see the README.",
            id="storage.W010",
        )
    ]


@checks.register(checks.Tags.compatibility)
def check_sqlite_engine(**kwargs: Any) -> list[checks.CheckMessage]:
    """storage.E002: a SQLite database lacks the pooled engine, or its safe settings."""
    if is_postgresql():
        return []
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
