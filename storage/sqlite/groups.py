"""Writers of a process that come at the same time share a commit, and so one wait for the disk.

Whoever finds nobody at work leads: commits what has come meanwhile, its own write and those of
others, who only wait. Then the first of those that have come since leads the next group. Nobody is
told of a write before it is committed.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from sqlite3 import OperationalError
from typing import Any

Work = Callable[[], Any]
"""Runs statements in the transaction of a group, in the thread of its leader.

It may be called again if that transaction was undone, so it changes nothing but the database.
"""


class Write:
    """What one thread writes, and how that went."""

    __slots__ = ("came", "error", "interaction_id", "is_done", "leads", "place", "result", "work")

    def __init__(self, work: Work, interaction_id: str | None) -> None:
        self.work = work
        self.interaction_id = interaction_id
        self.came = time.monotonic()
        self.place = threading.Lock()
        self.place.acquire()
        self.leads = False
        self.is_done = False
        self.result: Any = None
        self.error: BaseException | None = None

    def end(self, result: Any, error: BaseException | None) -> None:
        """Note how it went."""
        self.result, self.error, self.is_done = result, error, True


Take = Callable[[], Sequence[Write]]
"""Returns the writes of a group: those that have come by now. Its leader ends each of them."""


class Groups:
    """The writers of a process to one database."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._waiting: deque[Write] = deque()
        self._is_led = False
        self._taken: list[Write] = []
        """The writes of the group that is being committed."""

    def run(
        self,
        write: Write,
        seconds: float,
        before_waiting: Callable[[], None],
        commit: Callable[[Take], None],
    ) -> None:
        """Returns when the write is done. The thread that leads calls `commit`.

        Raises OperationalError if no group took it within that time, and what `commit` raises in
        this thread; then it is not done. Writes of others that `commit` has taken and not ended go
        to the next group.
        """
        try:
            if not self._join(write):
                before_waiting()
                self._wait(write, seconds)
            if write.leads:
                commit(self._take)
        finally:
            if write.leads or not write.is_done:
                self._leave(write)

    def _join(self, write: Write) -> bool:
        with self._mutex:
            self._waiting.append(write)
            write.leads = not self._is_led
            self._is_led = True
        return write.leads

    def _wait(self, write: Write, seconds: float) -> None:
        if write.place.acquire(timeout=seconds):
            return
        with self._mutex:
            if write in self._waiting and not write.leads:
                self._waiting.remove(write)
                raise OperationalError(f"database is locked: other writers took {seconds:g} s")
        write.place.acquire()  # it is being committed, or has begun to lead just now

    def _take(self) -> list[Write]:
        with self._mutex:
            self._taken = list(self._waiting)
            self._waiting.clear()
        return self._taken

    def _leave(self, write: Write) -> None:
        with self._mutex:
            ended: list[Write] = []
            if write.leads:
                ended = [other for other in self._taken if other.is_done and other is not write]
                left = [other for other in self._taken if not other.is_done]
                self._taken = []
                self._waiting.extendleft(reversed(left))
            if write in self._waiting:
                self._waiting.remove(write)
            if write.leads:
                self._pass_on()
        for other in ended:
            other.place.release()

    def _pass_on(self) -> None:
        self._is_led = bool(self._waiting)
        if self._waiting:
            self._waiting[0].leads = True
            self._waiting[0].place.release()
