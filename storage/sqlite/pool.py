"""The open connections of a process to one database file: a few, which all threads share.

A thread borrows a connection for a statement or a transaction, not for a request. So many threads
can share five.
"""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from sqlite3 import Connection, Error, OperationalError

from storage.sqlite.open_files import OpenFiles
from storage.sqlite.writer import Writer


class Pool:
    """At most `size` connections. The one that was given back last is lent first: it is warm.

    A connection may be given back at any moment, in any thread: when Python collects that of a
    thread that has ended. So `give_back` takes no lock. `SimpleQueue.put` is made for that.
    """

    def __init__(self, size: int, timeout: float, files: OpenFiles, writer: Writer) -> None:
        self.files = files
        self.writer = writer
        """Has a connection of its own, which is not lent."""
        self._size = size
        self._timeout = timeout
        self._idle: list[Connection] = []
        self._handed_over: SimpleQueue[Connection | None] = SimpleQueue()
        """To threads that wait. None says that another connection may be opened."""
        self._waiting = 0
        self._open = 0
        self._lock = threading.RLock()

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
            return self._idle.pop()
        except IndexError:
            return self._open_or_wait(open_connection)

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
        # In this order: whoever begins to wait is counted first, and looks for an idle one then.
        self._idle.append(connection)
        if self._waiting:
            with suppress(IndexError):
                self._handed_over.put(self._idle.pop())

    def close_idle(self) -> None:
        """Close the connections that are not in use."""
        with suppress(Empty):
            while True:
                # It came too late for a thread that had ceased to wait.
                if connection := self._handed_over.get_nowait():
                    self._idle.append(connection)
        with suppress(IndexError):
            while True:
                self._close(self._idle.pop())

    def _open_or_wait(self, open_connection: Callable[[], Connection]) -> Connection:
        end = time.monotonic() + self._timeout
        while True:
            with self._lock:
                may_open = self._open < self._size
                if may_open:
                    self._open += 1
                else:
                    self._waiting += 1
            connection = self._opened(open_connection) if may_open else self._wait(end)
            if connection is not None:
                return connection

    def _opened(self, open_connection: Callable[[], Connection]) -> Connection:
        try:
            return open_connection()
        except BaseException:
            self._closed()
            raise

    def _wait(self, end: float) -> Connection | None:
        try:
            # One may have been given back just before this thread was counted.
            return self._idle.pop()
        except IndexError:
            return self._next(max(end - time.monotonic(), 0))
        finally:
            with self._lock:
                self._waiting -= 1

    def _next(self, seconds: float) -> Connection | None:
        try:
            return self._handed_over.get(timeout=seconds)
        except Empty:
            raise OperationalError(
                f"All {self._size} pooled connections were in use for {self._timeout:g} s. Close "
                "connections sooner, or raise max_size."
            ) from None

    def _close(self, connection: Connection) -> None:
        connection.close()
        self.files.closed()
        self._closed()

    def _closed(self) -> None:
        with self._lock:
            self._open -= 1
            if self._waiting:
                self._handed_over.put(None)
