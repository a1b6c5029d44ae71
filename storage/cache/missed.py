"""Keys that could not be invalidated while the cache server was down."""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from storage.cache import background, metrics
from storage.cache.guarded import AWAY

logger = logging.getLogger(__name__)

REMEMBERED = 100_000
"""Keys remembered at most, about 20 MB.

With more, this process reads nothing from the cache until the last of their values has expired.
Other processes may read outdated values for as long.
"""

PAUSE_SECONDS = 0.2
"""Seconds between two attempts to invalidate keys while the server is down."""

ROUND = 500
"""Keys in one round trip."""

Invalidate = Callable[[Sequence[str]], None]


@dataclass(frozen=True)
class _Missed:
    until: float
    """When the value will have expired (`time.monotonic`)."""
    invalidate: Invalidate


class MissedInvalidations:
    """Keys whose cells may be out of date, until their values expire.

    A thread invalidates them as soon as the server is back, even if there are no calls to answer.
    """

    def __init__(self, ttl: float) -> None:
        self._ttl = ttl
        self._lock = threading.Lock()
        self._missed: dict[str, _Missed] = {}
        self._all_until = 0.0
        self._thread_runs = False

    def add(self, keys: Sequence[str], invalidate: Invalidate) -> None:
        """Remember keys that could not be invalidated, and the function that invalidates them."""
        with self._lock:
            until = time.monotonic() + self._ttl
            if len(self._missed) + len(keys) > REMEMBERED:
                self._all_until = until
            else:
                self._missed |= dict.fromkeys(keys, _Missed(until, invalidate))
            metrics.MISSED_INVALIDATIONS.set(len(self._missed))
            self._start_thread()

    def holds(self, key: str) -> bool:
        """Whether the cell of this key may be out of date."""
        if not self._missed and not self._all_until:
            return False
        if key not in self._missed:
            return time.monotonic() < self._all_until
        with self._lock:
            self._start_thread()  # in case it could not be started before
        return True

    def _start_thread(self) -> None:
        if not self._thread_runs and self._missed:
            self._thread_runs = True
            self._thread_runs = background.repeat(self.make_up, PAUSE_SECONDS)

    def make_up(self) -> bool:
        """Invalidate what can be. Returns False once no key is left, so that the thread may end."""
        while self._make_up_some():
            pass
        with self._lock:
            self._thread_runs = bool(self._missed)
            return self._thread_runs

    def _make_up_some(self) -> bool:
        """Invalidate up to ROUND keys. Returns whether that succeeded and others are left."""
        batch = self._batch()
        by_function: dict[Invalidate, list[str]] = {}
        for key, missed in batch.items():
            if time.monotonic() < missed.until:
                by_function.setdefault(missed.invalidate, []).append(key)
        try:
            for invalidate, keys in by_function.items():
                invalidate(keys)
        except AWAY as error:
            logger.info("Keys cannot be invalidated yet: %s", type(error).__name__)
            return self._make_up_one_by_one(batch)
        self._made_up(batch)
        return bool(self._missed)

    def _make_up_one_by_one(self, batch: Mapping[str, _Missed]) -> bool:
        """As above, key by key, since only one node of a cluster may be down. 3 failures end it."""
        failed, done = 0, {}
        for key, missed in batch.items():
            try:
                missed.invalidate([key])
                done[key] = missed
            except AWAY:
                failed += 1
                self._put_last(key)
            if failed == 3:
                break
        self._made_up(done)
        return failed < 3 and bool(done) and bool(self._missed)

    def _batch(self) -> dict[str, _Missed]:
        with self._lock:
            return dict(islice(self._missed.items(), ROUND))

    def _put_last(self, key: str) -> None:
        """Let keys on other nodes go first."""
        with self._lock:
            if key in self._missed:
                self._missed[key] = self._missed.pop(key)

    def _made_up(self, batch: Mapping[str, _Missed]) -> None:
        with self._lock:
            for key, missed in batch.items():
                if self._missed.get(key) is missed:  # otherwise it was missed again
                    del self._missed[key]
            metrics.MISSED_INVALIDATIONS.set(len(self._missed))
