"""A bound on the write-ahead log.

SQLite copies the log back into the database after 1,000 pages, but starts it anew only
at a moment when no reader uses it. Under steady load from several processes there may be
none, and the file grows without end. https://sqlite.org/wal.html#avoiding_excessively_large_wal_files
"""

from pathlib import Path
from typing import Any

LIMIT = 64 * 1024 * 1024
"""Bytes of log after which a writer makes room before it goes on."""

WAIT_MS = 1000
"""How long such a writer waits for readers, in milliseconds. A later one tries again."""


def keep_bounded(connection: Any, database: str, timeout_ms: int) -> None:
    """Restart the log if it is over LIMIT. `timeout_ms` is the busy timeout to put back."""
    try:
        if Path(f"{database}-wal").stat().st_size < LIMIT:
            return
    except FileNotFoundError:
        return
    connection.execute(f"PRAGMA busy_timeout = {WAIT_MS}")
    try:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    finally:
        connection.execute(f"PRAGMA busy_timeout = {timeout_ms}")
