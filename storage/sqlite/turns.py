"""Writers of one process take turns, and wait for theirs without a connection.

SQLite has one writer at a time. Without turns, every waiting writer would hold one of the few
pooled connections while it waits in SQLite's busy handler, and reads would wait for a connection.
With turns, one writer of each process waits there, and the others hold nothing.
"""

import threading
import time
from collections import deque
from contextlib import suppress
from typing import Any

from storage.sqlite import write_lock

Line = deque[Any]
"""A lock for each writer. The first in line has the turn; the others wait for their lock.

Whatever changes the first in line wakes the new one. No lock protects the line, on purpose: Python
may collect the connection of a thread that has ended at any moment, in any thread, and with it a
turn. Each step here is one operation of a deque or a lock, which Python does not interrupt.
"""

_lines: dict[str, Line] = {}


class Turn:
    """A turn, or a place in the line until then. It ends by `end`, or when nothing refers to it."""

    def __init__(self, database: str) -> None:
        self._database = database
        self._line = _lines.setdefault(database, deque())
        self._place = threading.Lock()
        self._place.acquire()
        self._line.append(self._place)
        self._ended = False
        self._is_locked = False

    def come(self, seconds: float) -> bool:
        """Wait until it comes. Returns whether it came within that time.

        Raises OperationalError if it needs a file beside the database, and cannot open that.
        """
        end = time.monotonic() + seconds
        if self._line[0] is not self._place and not self._place.acquire(timeout=seconds):
            return False
        if not write_lock.is_taken():
            return True
        self._is_locked = write_lock.take(self._database, max(end - time.monotonic(), 0))
        return self._is_locked

    def end(self) -> None:
        """Let the next one write. Ending it again does nothing."""
        if self._ended:
            return
        self._ended = True
        if self._is_locked:
            write_lock.give_back(self._database)
        self._line.remove(self._place)
        with suppress(IndexError, RuntimeError):  # nobody waits, or it has been woken already
            self._line[0].release()

    __del__ = end


def turn(database: str) -> Turn:
    """Line up to write to this file. First come, first served."""
    return Turn(database)


def number(database: str) -> int:
    """How many writers of this process write to this file, or wait for their turn."""
    return len(_lines.get(database, ()))


def forget() -> None:
    """In a forked child: the turns of the parent's threads will never end here."""
    _lines.clear()
    write_lock.forget()
