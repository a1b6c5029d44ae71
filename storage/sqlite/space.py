"""The space of deleted rows: returned to the file system, and free of deleted data.

A database created with `auto_vacuum = INCREMENTAL` can return free pages step by step:
https://sqlite.org/pragma.html#pragma_incremental_vacuum. Without it, free pages stay in the file
for new rows. Only VACUUM returns them, which rewrites the whole file and blocks writers meanwhile.

# Note [What secure_delete leaves]

`secure_delete` overwrites a deleted row and its index entries with zeros. But when SQLite splits a
full page, copies of moved data can remain in the unused space of the old page, where no deletion
overwrites them: about one per few thousand rows, with an id, a user or text. They stay until that
space is used. VACUUM copies only live data.
"""

import os
import shutil
from pathlib import Path
from typing import Any

from storage.exceptions import StorageUnavailable
from storage.sqlite.statements import Statements

WAIT_MS = 2000
"""How long emptying the log waits for readers, in milliseconds."""

SCRUBBED_PER_SECOND = 50_000_000
"""Bytes of the database. A fast disk manages three times as many."""

PAGES_AT_ONCE = 1000
"""Pages of one step: 4 MB, during which other writers wait about 50 ms."""


def prepare(statements: Statements) -> None:
    """Turn `auto_vacuum` on in a database that is still empty.

    This needs a write transaction, so it cannot be part of opening a connection.
    """
    if not _value(statements, "auto_vacuum") and not statements.tables():
        with statements.writing():
            statements.rows("PRAGMA auto_vacuum = INCREMENTAL", {})
            statements.rows("VACUUM", {})


def describe(database: str) -> dict[str, str | int]:
    """Returns the file, its size, that of its write-ahead log, and the free bytes of its disk."""
    file, log = Path(database), Path(f"{os.path.realpath(database)}-wal")
    return {
        "file": str(file),
        "bytes": file.stat().st_size if file.exists() else 0,
        "log bytes": log.stat().st_size if log.exists() else 0,
        "free bytes": shutil.disk_usage(file.parent).free,
    }


def reclaim(statements: Statements) -> int:
    """Return some free pages to the file system. Returns their size in bytes.

    If there are none, empties the write-ahead log and returns 0.
    """
    before = _value(statements, "page_count")
    if _value(statements, "auto_vacuum"):
        statements.write(f"PRAGMA incremental_vacuum({PAGES_AT_ONCE})", {})
    returned = max(before - _value(statements, "page_count"), 0)
    if not returned:
        statements.write("PRAGMA wal_checkpoint(TRUNCATE)", {})
    return int(returned * _value(statements, "page_size"))


def unreclaimable_bytes(statements: Statements) -> int:
    """Free bytes that only VACUUM returns, if the database was created without auto_vacuum."""
    if _value(statements, "auto_vacuum"):
        return 0
    return int(_value(statements, "freelist_count") * _value(statements, "page_size"))


def scrub(statements: Statements) -> None:
    """Remove all traces of deleted data from the files. See Note [What secure_delete leaves].

    Raises StorageUnavailable as `empty_log` does. Meanwhile readers continue, and writers wait.
    """
    empty_log(statements)  # fails early, before the time for VACUUM is spent
    statements.write("VACUUM", {})
    empty_log(statements)


def scrub_seconds(statements: Statements) -> float:
    """How many seconds `scrub` takes, about."""
    size = _value(statements, "page_count") * _value(statements, "page_size")
    return float(size / SCRUBBED_PER_SECOND)


def empty_log(statements: Statements) -> None:
    """Copy the write-ahead log into the database and empty it, so that it holds no deleted data.

    Raises StorageUnavailable if a reader or writer blocks it for two seconds.
    """
    with statements.writing():
        (timeout,) = statements.rows("PRAGMA busy_timeout", {})[0]
        statements.rows(f"PRAGMA busy_timeout = {WAIT_MS}", {})
        try:
            busy = statements.rows("PRAGMA wal_checkpoint(TRUNCATE)", {})[0][0]
        finally:
            statements.rows(f"PRAGMA busy_timeout = {timeout}", {})
    if busy:
        raise StorageUnavailable(
            "The write-ahead log cannot be emptied while a transaction reads from it. Try again."
        )


def _value(statements: Statements, pragma: str) -> Any:
    return statements.rows(f"PRAGMA {pragma}", {})[0][0]
