"""Writers of one process take turns, and wait for theirs without a connection.

SQLite has one writer at a time. Without turns, every waiting writer would hold one of the few
pooled connections while it waits in SQLite's busy handler, and reads would wait for a connection.
With turns, one writer of each process waits there, and the others hold nothing.
"""

import threading
from collections import deque
from contextlib import suppress
from typing import Any

Line = deque[Any]
"""A lock for each writer. The first in line has the turn; the others wait for their lock.

Whatever changes the first in line wakes the new one. No lock protects the line, on purpose: Python
may collect the connection of a thread that has ended at any moment, in any thread, and with it a
turn. Each step here is one operation of a deque or a lock, which Python does not interrupt.
"""

_lines: dict[str, Line] = {}


class Turn:
    """A turn, or a place in the line until then. It ends by `end`, or when nothing refers to it."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._place = threading.Lock()
        self._place.acquire()
        line.append(self._place)
        self._ended = False

    def come(self, seconds: float) -> bool:
        """Wait until it comes. Returns whether it came within that time."""
        return self._line[0] is self._place or self._place.acquire(timeout=seconds)

    def end(self) -> None:
        """Let the next one write. Ending it again does nothing."""
        if self._ended:
            return
        self._ended = True
        self._line.remove(self._place)
        with suppress(IndexError, RuntimeError):  # nobody waits, or it has been woken already
            self._line[0].release()

    __del__ = end


def turn(database: str) -> Turn:
    """Line up to write to this file. First come, first served."""
    return Turn(_lines.setdefault(database, deque()))


def forget() -> None:
    """In a forked child: the turns of the parent's threads will never end here."""
    _lines.clear()
