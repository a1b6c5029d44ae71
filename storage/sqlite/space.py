"""The space of deleted rows, and how it returns to the file system.

A database created with `auto_vacuum = INCREMENTAL` can return free pages step by step:
https://sqlite.org/pragma.html#pragma_incremental_vacuum. Without it, free pages stay in the file
for new rows. Only VACUUM returns them, which rewrites the whole file and blocks writers meanwhile.
"""

import os
import shutil
import time
from pathlib import Path
from typing import Any

from storage.sqlite.statements import Statements

PAGES_AT_ONCE = 1000
"""Pages of one call: 4 MB."""

PAGES_AT_FIRST = 64

STEP_SECONDS = 0.05
"""How long other writers should wait for one step."""


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

    The last pages of the file take their places: call `scrubbing.end_pass` before. If there are
    none, empties the write-ahead log and returns 0.
    """
    before = _value(statements, "page_count")
    if _value(statements, "auto_vacuum"):
        _return_pages(statements)
    returned = max(before - _value(statements, "page_count"), 0)
    if not returned:
        statements.write("PRAGMA wal_checkpoint(TRUNCATE)", {})
    return int(returned * _value(statements, "page_size"))


def _return_pages(statements: Statements) -> None:
    """Return free pages in steps that take about STEP_SECONDS each.

    SQLite searches the list of free pages for each page that it returns. With 100,000 free pages
    that may take 10 ms a page, and with few next to nothing.
    """
    left, step = PAGES_AT_ONCE, PAGES_AT_FIRST
    while left > 0 and free_pages(statements):
        began = time.monotonic()
        statements.write(f"PRAGMA incremental_vacuum({min(step, left)})", {})
        left -= step
        step = step * 2 if time.monotonic() - began < STEP_SECONDS else max(step // 2, 1)


def free_pages(statements: Statements) -> int:
    """The number of pages that hold nothing."""
    return int(_value(statements, "freelist_count"))


def unreclaimable_bytes(statements: Statements) -> int:
    """Free bytes that only VACUUM returns, if the database was created without auto_vacuum."""
    if _value(statements, "auto_vacuum"):
        return 0
    return free_pages(statements) * int(_value(statements, "page_size"))


def _value(statements: Statements, pragma: str) -> Any:
    return statements.rows(f"PRAGMA {pragma}", {})[0][0]
