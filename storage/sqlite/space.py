"""The space of deleted rows: given back to the file system, and nothing left in it.

A database made with `auto_vacuum = INCREMENTAL` hands its free pages back step by step:
https://sqlite.org/pragma.html#pragma_incremental_vacuum. One made without keeps them for rows to
come; only VACUUM, which rewrites all of it and lets nobody write meanwhile, would change that.

# Note [What secure_delete leaves]

`secure_delete` puts zeros in the place of a row and of its entries in indexes. But when SQLite
divides a full page, it may leave copies of what it has moved in the space that becomes free in the
old page, where no deletion finds them: one for some thousand rows, of an id, of a user, of text.
They stay until that space is used. VACUUM writes only what counts.
"""

import shutil
from pathlib import Path
from typing import Any

from storage.exceptions import StorageUnavailable
from storage.sqlite.statements import Statements

WAIT_MS = 2000
"""How long emptying the log waits for readers."""

SCRUBBED_PER_SECOND = 50_000_000
"""Bytes of the database; a quick disk does three times as many."""

PAGES_AT_ONCE = 1000
"""Pages of one step, 4 MB: other writers wait some 50 ms."""


def prepare(statements: Statements) -> None:
    """Let a database that has nothing in it yet give its free pages back one day.

    Setting it takes a write transaction, so it cannot be a part of opening a connection.
    """
    if not _value(statements, "auto_vacuum") and not statements.tables():
        statements.rows("PRAGMA auto_vacuum = INCREMENTAL", {})
        statements.rows("VACUUM", {})


def describe(database: str) -> dict[str, str | int]:
    """The file, its bytes, those of its write-ahead log, and those free on its disk."""
    file, log = Path(database), Path(f"{database}-wal")
    return {
        "file": str(file),
        "bytes": file.stat().st_size if file.exists() else 0,
        "log bytes": log.stat().st_size if log.exists() else 0,
        "free bytes": shutil.disk_usage(file.parent).free,
    }


def reclaim(statements: Statements) -> int:
    """Hand some free pages back; how many bytes. Once there are none, empty the log, and give 0."""
    before = _value(statements, "page_count")
    if _value(statements, "auto_vacuum"):
        statements.rows(f"PRAGMA incremental_vacuum({PAGES_AT_ONCE})", {})
    given = max(before - _value(statements, "page_count"), 0)
    if not given:
        statements.rows("PRAGMA wal_checkpoint(TRUNCATE)", {})
    return int(given * _value(statements, "page_size"))


def unreclaimable_bytes(statements: Statements) -> int:
    """Free bytes of a database that was made without auto_vacuum: only VACUUM returns them."""
    if _value(statements, "auto_vacuum"):
        return 0
    return int(_value(statements, "freelist_count") * _value(statements, "page_size"))


def scrub(statements: Statements) -> None:
    """Leave nothing of what was deleted in the files. See Note [What secure_delete leaves].

    Raises StorageUnavailable as `empty_log` does. Readers go on meanwhile, writers wait.
    """
    empty_log(statements)  # else VACUUM is spent before something stands in the way
    statements.rows("VACUUM", {})
    empty_log(statements)


def scrub_seconds(statements: Statements) -> float:
    """How long `scrub` takes, about."""
    size = _value(statements, "page_count") * _value(statements, "page_size")
    return float(size / SCRUBBED_PER_SECOND)


def empty_log(statements: Statements) -> None:
    """Copy the write-ahead log back and empty it, so that it has nothing of what was deleted.

    Raises StorageUnavailable if a reader, or a writer, is in the way for two seconds.
    """
    (timeout,) = statements.rows("PRAGMA busy_timeout", {})[0]
    statements.rows(f"PRAGMA busy_timeout = {WAIT_MS}", {})
    try:
        busy = statements.rows("PRAGMA wal_checkpoint(TRUNCATE)", {})[0][0]
    finally:
        statements.rows(f"PRAGMA busy_timeout = {timeout}", {})
    if busy:
        raise StorageUnavailable(
            "The write-ahead log cannot be emptied while a transaction reads from it; try again."
        )


def _value(statements: Statements, pragma: str) -> Any:
    return statements.rows(f"PRAGMA {pragma}", {})[0][0]
