"""Whether the database and its log are still the files that this process has open.

A file that is removed or replaced stays open, and SQLite goes on to write to it: what is saved then
is gone when the process ends. So each write compares the files on disk with the open ones after it
was committed and before it is acknowledged. https://sqlite.org/howtocorrupt.html
"""

import logging
import os
import threading
from sqlite3 import OperationalError

logger = logging.getLogger(__name__)

Identity = tuple[int, int]
"""The number of a file, and of the file system that it is on."""

GONE = (
    "its file or its write-ahead log was removed or replaced while in use, and what is saved now "
    "would be lost. Put them back, or stop all servers and commands, restore a backup and start "
    "again"
)


MISSING = (
    "there is no file, but its write-ahead log is there, with what was saved last. Put the file "
    "back; if it is lost, set the log aside and restore a backup"
)


class OpenFiles:
    """The files that the connections of this process to a database have open."""

    def __init__(self, database: str) -> None:
        self._database = database
        self._log = f"{os.path.realpath(database)}-wal"
        self._open_file: Identity | None = None
        self._open_log: Identity | None = None
        self._connections = 0
        self._lock = threading.Lock()
        self.are_gone = False
        """Whether the last check has failed."""

    def opening(self) -> None:
        """Raise OperationalError if SQLite would open another file now, or make a new one.

        SQLite takes a log beside an empty database for a leftover, and deletes it. What it holds
        may have been acknowledged.
        """
        if not _size(self._database) and _size(self._log):
            raise OperationalError(MISSING)
        if self._open_file is not None and _identity(self._database) != self._open_file:
            self._fail()

    def opened(self) -> None:
        """Note a new connection. Raises OperationalError if it has other files open than others."""
        with self._lock:
            self._open_file = self._open_file or _identity(self._database)
            if not self._connections:  # the last connection of all deletes the log
                self._open_log = _identity(self._log)
            self.check()
            self._connections += 1

    def closed(self) -> None:
        """Note that a connection was closed."""
        with self._lock:
            self._connections -= 1

    def forget_connections(self) -> None:
        """Note that this process is a forked child, which has no connections yet."""
        self._lock = threading.Lock()
        self._connections = 0

    def check(self) -> None:
        """Raise OperationalError if the open files are not those on disk any more."""
        file, log = _identity(self._database), _identity(self._log)
        if file == self._open_file and log == self._open_log:
            self.are_gone = False
        else:
            self._fail()

    def _fail(self) -> None:
        if not self.are_gone:
            self.are_gone = True
            logger.critical("The database %s has failed: %s.", self._database, GONE)
        raise OperationalError(GONE)


def _size(path: str) -> int:
    """Bytes of a file; 0 if there is none."""
    try:
        return os.stat(path).st_size  # noqa: PTH116
    except OSError:
        return 0


def _identity(path: str) -> Identity | None:
    try:
        found = os.stat(path)  # noqa: PTH116  (a Path costs more than the call)
    except OSError:
        return None
    return found.st_dev, found.st_ino
