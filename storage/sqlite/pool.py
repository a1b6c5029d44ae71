"""The open connections of a process to one database file: a few, which all threads share.

A thread borrows a connection for a statement or a transaction, not for a request. So many threads
can share five.
"""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from sqlite3 import Connection, Error, OperationalError

from storage.sqlite.open_files import OpenFiles
from storage.sqlite.writer import Writer

LONGEST_WAIT = 1.0
"""Seconds until a thread that waits looks again by itself.

When Python collects the connection of a thread that has ended, it gives that back at any moment, in
any thread: also in one that is about to wait, which nobody wakes then.
"""


class Pool:
    """At most `size` connections. The one that was given back last is lent first: it is warm."""

    def __init__(self, size: int, timeout: float, files: OpenFiles, writer: Writer) -> None:
        self.files = files
        self.writer = writer
        """Has a connection of its own, which is not lent."""
        self._size = size
        self._timeout = timeout
        self._idle: list[Connection] = []
        self._open = 0
        self._waiting = 0
        self._returned = threading.Condition(threading.RLock())

    @property
    def open(self) -> int:
        """How many connections are open."""
        return self._open

    @property
    def lent(self) -> int:
        """How many connections are in use."""
        return self._open - len(self._idle)

    def borrow(self, open_connection: Callable[[], Connection]) -> Connection:
        """Returns a connection, which nobody else has until it is given back.

        Raises OperationalError after `timeout` seconds, or at once if the files are gone.
        """
        if self.files.are_gone:
            self.files.check()  # they may be back
        try:
            return self._idle.pop()  # without the lock, which would cost as much again
        except IndexError:
            idle = self._wait()
        if idle is not None:
            return idle
        try:
            return open_connection()
        except BaseException:
            self._closed()
            raise

    def give_back(self, connection: Connection) -> None:
        """Lend it to the next borrower. What it has not committed is rolled back."""
        try:
            if connection.in_transaction:
                connection.rollback()
            if connection.isolation_level is not None:
                connection.isolation_level = None  # which commits, so it comes second
        except Error:
            self._close(connection)
            return
        self._idle.append(connection)
        if self._waiting:
            with self._returned:
                self._returned.notify()

    def close_idle(self) -> None:
        """Close the connections that are not in use."""
        with suppress(IndexError):
            while True:
                self._close(self._idle.pop())

    def _wait(self) -> Connection | None:
        """Returns a connection that somebody gave back, or None if another may be opened."""
        end = time.monotonic() + self._timeout
        with self._returned:
            self._waiting += 1  # before it looks: see `give_back`
            try:
                while True:
                    with suppress(IndexError):  # others take some without the lock
                        return self._idle.pop()
                    if self._open < self._size:
                        self._open += 1
                        return None
                    left = end - time.monotonic()
                    if left <= 0:
                        raise OperationalError(
                            f"All {self._size} pooled connections were in use for "
                            f"{self._timeout:g} s. Close connections sooner, or raise max_size."
                        )
                    self._returned.wait(min(left, LONGEST_WAIT))
            finally:
                self._waiting -= 1

    def _close(self, connection: Connection) -> None:
        connection.close()
        self.files.closed()
        self._closed()

    def _closed(self) -> None:
        with self._returned:
            self._open -= 1
            self._returned.notify()
