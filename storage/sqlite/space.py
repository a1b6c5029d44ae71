"""The space of deleted rows: given back to the file system, and nothing left in it.

A database made with `auto_vacuum = INCREMENTAL` hands its free pages back step by step:
https://sqlite.org/pragma.html#pragma_incremental_vacuum. One made without keeps them for rows to
come; only VACUUM, which rewrites all of it and lets nobody write meanwhile, would change that.
"""

from typing import Any

from storage.exceptions import StorageUnavailable
from storage.sqlite.statements import Statements

WAIT_MS = 2000
"""How long emptying the log waits for readers."""

PAGES_AT_ONCE = 1000
"""Pages of one step, 4 MB: other writers wait some 50 ms."""


def prepare(statements: Statements) -> None:
    """Let a database that has nothing in it yet give its free pages back one day.

    Setting it takes a write transaction, so it cannot be a part of opening a connection.
    """
    if not _value(statements, "auto_vacuum") and not statements.tables():
        statements.rows("PRAGMA auto_vacuum = INCREMENTAL", {})
        statements.rows("VACUUM", {})


def reclaim(statements: Statements) -> int:
    """Hand free pages back and empty the write-ahead log; how many bytes the database gave."""
    size = _value(statements, "page_size")
    before = _value(statements, "page_count")
    if _value(statements, "auto_vacuum"):
        while free := _value(statements, "freelist_count"):
            statements.rows(f"PRAGMA incremental_vacuum({PAGES_AT_ONCE})", {})
            if _value(statements, "freelist_count") >= free:
                break  # others free pages as fast
    given = before - _value(statements, "page_count")
    statements.rows("PRAGMA wal_checkpoint(TRUNCATE)", {})
    return max(given, 0) * size


def empty_log(statements: Statements) -> None:
    """Copy the write-ahead log back and empty it, so that it has nothing of what was deleted.

    In the database itself `secure_delete` has put zeros there. Raises StorageUnavailable if a
    reader, or a writer, is in the way for two seconds.
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
