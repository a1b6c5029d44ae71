"""Limits the size of the write-ahead log.

SQLite copies the log into the database after some pages (`wal_autocheckpoint`), but starts it from
the beginning only when no reader uses it. Under steady load from several processes there may be no
such moment, and the file grows without limit.
https://sqlite.org/wal.html#avoiding_excessively_large_wal_files
"""

import os
from pathlib import Path
from typing import Any

LIMIT = 64 * 1024 * 1024
"""The size in bytes from which a writer restarts the log before it continues."""

WAIT_MS = 250
"""How long such a writer waits for readers, in milliseconds. If in vain, a later writer retries.

Others wait behind it, and a reader may stay for a minute, as a backup does.
"""


def is_too_long(database: str) -> bool:
    """Whether the log has reached LIMIT."""
    try:
        return Path(f"{os.path.realpath(database)}-wal").stat().st_size >= LIMIT
    except FileNotFoundError:
        return False


def keep_bounded(connection: Any, database: str, timeout_ms: int) -> None:
    """Restart the log if it is too long. `timeout_ms` is the usual busy timeout."""
    if not is_too_long(database):
        return
    connection.execute(f"PRAGMA busy_timeout = {WAIT_MS}")
    try:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    finally:
        connection.execute(f"PRAGMA busy_timeout = {timeout_ms}")
