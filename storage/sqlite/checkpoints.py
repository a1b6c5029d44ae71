"""Emptying the write-ahead log, which holds earlier versions of pages."""

import time
from collections.abc import Callable

from storage.exceptions import StorageUnavailable
from storage.sqlite.statements import Statements

SECONDS = 20.0
"""How long it is tried again."""

WAIT_MS = 200
"""How long one attempt waits for others, in milliseconds. Writers wait as long."""

PAUSE_SECONDS = 0.05


def empty_log(is_emptied: Callable[[], bool], check_time: Callable[[], None]) -> None:
    """Copy the write-ahead log into its file and empty it, so that it holds no deleted data.

    SQLite gives up at once when another connection copies the log at that moment, so `is_emptied`
    is tried again and again. Raises StorageUnavailable if a reader keeps the log for SECONDS, and
    whatever `check_time` raises.
    """
    deadline = time.monotonic() + SECONDS
    while not is_emptied():
        check_time()
        if time.monotonic() >= deadline:
            raise StorageUnavailable(
                "The write-ahead log cannot be emptied while a transaction reads from it. Try "
                "again."
            )
        time.sleep(PAUSE_SECONDS)


def is_emptied(statements: Statements) -> bool:
    """Try once to empty the log of a database. Returns whether nobody was in the way."""
    with statements.writing():
        return truncated(lambda sql: statements.rows(sql, {}))


def truncated(execute: Callable[[str], list[tuple[int, ...]]]) -> bool:
    """Try once to empty the log of a connection, of which `execute` returns rows."""
    # Most of it is copied without keeping writers of other processes away.
    execute("PRAGMA wal_checkpoint(PASSIVE)")
    ((timeout,),) = execute("PRAGMA busy_timeout")
    execute(f"PRAGMA busy_timeout = {WAIT_MS}")
    try:
        ((busy, *_),) = execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        execute(f"PRAGMA busy_timeout = {timeout}")
    return not busy
