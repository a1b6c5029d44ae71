"""What could not be taken out of a cache server that was away."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice

from storage.cache import background, metrics
from storage.cache.guarded import AWAY

logger = logging.getLogger(__name__)

REMEMBERED = 10_000
"""Keys remembered at most. With more, nothing cached is given until the last is out of date."""

PAUSE_SECONDS = 0.2
"""Between two rounds of attempts to remove what was missed."""

ROUND = 100
"""Keys in a round, which ends at the third that fails."""


@dataclass(frozen=True)
class _Missed:
    until: float
    """When its value will have ended (`time.monotonic`)."""
    invalidate: Callable[[str], None]


class MissedInvalidations:
    """Keys whose cells may be out of date, until their values have ended by themselves.

    A thread of its own removes them as soon as the server is back, whether there are calls to
    answer or not.
    """

    def __init__(self, ttl: float) -> None:
        self._ttl = ttl
        self._lock = threading.Lock()
        self._missed: dict[str, _Missed] = {}
        self._all_until = 0.0
        self._thread_runs = False

    def add(self, keys: Sequence[str], invalidate: Callable[[str], None]) -> None:
        """Remember keys that could not be invalidated, and how each is to be."""
        with self._lock:
            until = time.monotonic() + self._ttl
            self._missed |= dict.fromkeys(keys, _Missed(until, invalidate))
            if len(self._missed) > REMEMBERED:
                self._missed.clear()
                self._all_until = until
            metrics.MISSED_INVALIDATIONS.set(len(self._missed))
            if not self._thread_runs and self._missed:
                self._thread_runs = True
                background.repeat(self.make_up, PAUSE_SECONDS)

    def holds(self, key: str) -> bool:
        """Whether the cell of this key may be out of date."""
        if not self._missed and not self._all_until:
            return False
        return key in self._missed or time.monotonic() < self._all_until

    def make_up(self) -> bool:
        """Invalidate some of them; False once there is nothing left, and the thread may end."""
        failed = 0
        for key, missed in self._some():
            try:
                if time.monotonic() < missed.until:
                    missed.invalidate(key)
            except AWAY as error:
                failed += 1
                self._put_last(key)
                if failed == 3:
                    logger.info("Cells cannot be removed yet: %s", type(error).__name__)
                    break
            else:
                self._made_up(key, missed)
        with self._lock:
            self._thread_runs = bool(self._missed)
            return self._thread_runs

    def _some(self) -> list[tuple[str, _Missed]]:
        with self._lock:
            return list(islice(self._missed.items(), ROUND))

    def _put_last(self, key: str) -> None:
        """Others, on a node that is there, are not to wait for it."""
        with self._lock:
            if key in self._missed:
                self._missed[key] = self._missed.pop(key)

    def _made_up(self, key: str, missed: _Missed) -> None:
        with self._lock:
            if self._missed.get(key) is missed:  # else it was missed again
                del self._missed[key]
            metrics.MISSED_INVALIDATIONS.set(len(self._missed))
