"""What could not be taken out of a cache server that was away."""

import threading
import time
from collections.abc import Callable, Sequence
from itertools import islice

from storage.cache import metrics

REMEMBERED = 10_000
"""Keys remembered at most. With more, nothing cached is given until the last is out of date."""

MADE_UP_AT_ONCE = 100
"""Keys removed before one call goes on; while there are more, calls are told that all is busy."""


class MissedInvalidations:
    """Keys whose cells may be out of date, until their values have ended by themselves."""

    def __init__(self, ttl: float) -> None:
        self._ttl = ttl
        self._lock = threading.Lock()
        self._until: dict[str, float] = {}
        self._all_until = 0.0
        self._one_at_a_time = threading.Lock()

    def add(self, keys: Sequence[str]) -> None:
        """Remember keys that could not be invalidated."""
        with self._lock:
            until = time.monotonic() + self._ttl
            self._until |= dict.fromkeys(keys, until)
            if len(self._until) > REMEMBERED:
                self._until.clear()
                self._all_until = until
            metrics.MISSED_INVALIDATIONS.set(len(self._until))

    def any(self) -> bool:
        """Whether there is something to make up for, or to wait for."""
        return bool(self._until) or time.monotonic() < self._all_until

    def make_up(self, delete: Callable[[str], None]) -> bool:
        """Invalidate what was missed; whether cells can be relied on then. Raises as `delete`."""
        if not self.any():
            return True
        if not self._one_at_a_time.acquire(blocking=False):
            return False
        try:
            for key, until in self._some():
                if time.monotonic() < until:
                    delete(key)
                self._made_up(key, until)
        finally:
            self._one_at_a_time.release()
        return not self.any()

    def _some(self) -> list[tuple[str, float]]:
        with self._lock:
            return list(islice(self._until.items(), MADE_UP_AT_ONCE))

    def _made_up(self, key: str, until: float) -> None:
        with self._lock:
            if self._until.get(key) == until:  # else it was missed again
                del self._until[key]
            metrics.MISSED_INVALIDATIONS.set(len(self._until))
