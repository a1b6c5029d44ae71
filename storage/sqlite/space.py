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

PAGES_AT_ONCE = 64
"""Pages of one step.

SQLite searches the list of free pages for each page that it returns. With 100,000 free pages that
takes some milliseconds a page, during which other writers wait.
"""


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

    The last pages of the file take their places: call `scrubbed_database.end_pass` before. If there
    are none, empties the write-ahead log and returns 0. Then pauses for as long as it has worked:
    writers of other processes ask for their turn ten times a second, and would hardly ever find a
    moment between two steps.
    """
    began = time.monotonic()
    before = _value(statements, "page_count")
    if _value(statements, "auto_vacuum"):
        statements.write(f"PRAGMA incremental_vacuum({PAGES_AT_ONCE})", {})
    returned = max(before - _value(statements, "page_count"), 0)
    time.sleep(time.monotonic() - began)
    if not returned:
        statements.write("PRAGMA wal_checkpoint(TRUNCATE)", {})
    return int(returned * _value(statements, "page_size"))


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
