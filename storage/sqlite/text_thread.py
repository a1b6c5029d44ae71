"""A thread that keeps the search index in step, beside the requests."""

import logging
import os
import threading
import time
from collections.abc import Callable

logger = logging.getLogger(__name__)

PAUSE_SECONDS = 2.0
"""What comes meanwhile is indexed together: in passes of 500 it takes half as much as in fives."""

BETWEEN_SECONDS = 0.02
"""A pause between passes, in which another process comes that waits to write to the index."""

AFTER_FAILURE_SECONDS = 60.0


class Background:
    """Calls `work` in a thread while it returns True, and after each `wake`."""

    def __init__(self, work: Callable[[], bool]) -> None:
        self._work = work
        self._lock = threading.Lock()
        self._is_woken = self._is_running = False
        self._process = os.getpid()

    def wake(self) -> None:
        """See to it that `work` is called soon. It costs next to nothing if it is already."""
        self._is_woken = True
        if self._is_running and self._process == os.getpid():
            return
        if self._process != os.getpid():  # a forked child has no thread of its parent
            self._lock, self._process, self._is_running = threading.Lock(), os.getpid(), False
        with self._lock:
            if not self._is_running:
                self._is_running = True
                self._start()

    def _start(self) -> None:
        try:
            threading.Thread(target=self._run, name="search index", daemon=True).start()
        except RuntimeError as error:  # too many threads; the next change tries again
            self._is_running = False
            logger.warning("No thread for the search index could be started: %s", error)

    def _run(self) -> None:
        while True:
            time.sleep(PAUSE_SECONDS)
            self._is_woken = False
            try:
                while self._work():
                    time.sleep(BETWEEN_SECONDS)
            except Exception:  # `work` has said why
                time.sleep(AFTER_FAILURE_SECONDS)
            with self._lock:
                if not self._is_woken:
                    self._is_running = False
                    return
