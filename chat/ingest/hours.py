"""Adds what was counted to the hours in the database, beside the requests.

Counts wait in the process for `PAUSE_SECONDS` at most, so a process that is killed loses so much
and no more. While the database cannot be written they go on waiting. A thread writes them, which
ends when nothing waits, and what waits when the process ends is written then.
"""

import logging
import os
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from multiprocessing.util import Finalize

from django.db import connections
from django.utils import timezone

from chat.ingest.lines import Lines
from storage.accounts import intake
from storage.accounts.intake import Count
from storage.exceptions import StorageError

logger = logging.getLogger(__name__)

PAUSE_SECONDS = 2.0

MOST_WAITING = 10_000
"""Counts that wait while the database is away: those of some 100 hours. Then the oldest go."""

WARN_SECONDS = 60.0

Key = tuple[datetime, str, str]


class Hours:
    """Counts by hour, source and outcome that are not yet in the database. Thread-safe."""

    def __init__(self, *, in_background: bool) -> None:
        self._in_background = in_background
        self.forget()

    def forget(self) -> None:
        """Start with nothing. In a forked child: what waits is for its parent to write."""
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._waiting: dict[Key, Count] = {}
        self._lines = Lines()
        self._has_thread = False
        self._at_exit: Finalize | None = None
        self._warned = -WARN_SECONDS

    def add(self, source: str, outcomes: Mapping[str, int], now: datetime) -> None:
        """Count these outcomes. They are in the database some seconds later."""
        hour = intake.hour_of(now)
        with self._lock:
            for outcome, count in outcomes.items():
                if count:
                    self._merge(Count(hour, source, outcome, count, now))
            if self._in_background and self._waiting and not self._has_thread:
                self._start()

    def flush(self) -> None:
        """Write what waits, and the lines of the log that are due. Never raises."""
        with self._writing:
            with self._lock:
                taken, self._waiting = self._waiting, {}
            try:
                if taken:
                    intake.add(taken.values())
                    self._lines.counted(taken.values())
                    taken = {}
                self._lines.write(timezone.now())
            except Exception as error:
                self._warn(error)
                with self._lock:
                    for count in taken.values():
                        self._merge(count)

    def _merge(self, count: Count) -> None:
        key = count.hour, count.source, count.outcome
        if known := self._waiting.get(key):
            last_at = max(known.last_at, count.last_at)
            count = replace(count, count=known.count + count.count, last_at=last_at)
        elif len(self._waiting) >= MOST_WAITING:
            del self._waiting[min(self._waiting)]
        self._waiting[key] = count

    def _start(self) -> None:
        if self._at_exit is None:
            # Not `atexit`, which workers of the server, as children of multiprocessing, never call.
            self._at_exit = Finalize(None, self.flush, exitpriority=1)
        self._has_thread = True
        try:
            threading.Thread(target=self._work, name="intake", daemon=True).start()
        except RuntimeError as error:  # too many threads; whoever counts next tries again
            self._has_thread = False
            logger.warning("No thread for the counts of the intake could be started: %s", error)

    def _work(self) -> None:
        while self._has_thread:
            time.sleep(PAUSE_SECONDS)
            self.flush()
            connections.close_all()  # back into the pool
            with self._lock:
                self._has_thread = bool(self._waiting or self._lines.are_due_later)

    def _warn(self, error: Exception) -> None:
        if time.monotonic() - self._warned >= WARN_SECONDS:
            self._warned = time.monotonic()
            bug = None if isinstance(error, StorageError) else error
            logger.warning("The counts of the intake wait: %s", error, exc_info=bug)


HOURS = Hours(in_background=True)
os.register_at_fork(after_in_child=HOURS.forget)
