"""What could not be taken out of a cache server that was away."""

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
"""Keys remembered at most, some 20 MB. With more, this process is given nothing cached until the
last is out of date; other processes may be, for as long.
"""

PAUSE_SECONDS = 0.2
"""Between two attempts to remove what was missed, while the server is away."""

ROUND = 500
"""Keys in one round trip."""

Invalidate = Callable[[Sequence[str]], None]


@dataclass(frozen=True)
class _Missed:
    until: float
    """When its value will have ended (`time.monotonic`)."""
    invalidate: Invalidate


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

    def add(self, keys: Sequence[str], invalidate: Invalidate) -> None:
        """Remember keys that could not be invalidated, and how each is to be."""
        with self._lock:
            until = time.monotonic() + self._ttl
            if len(self._missed) + len(keys) > REMEMBERED:
                self._all_until = until
            else:
                self._missed |= dict.fromkeys(keys, _Missed(until, invalidate))
            metrics.MISSED_INVALIDATIONS.set(len(self._missed))
            self._see_to_thread()

    def holds(self, key: str) -> bool:
        """Whether the cell of this key may be out of date."""
        if not self._missed and not self._all_until:
            return False
        if key not in self._missed:
            return time.monotonic() < self._all_until
        with self._lock:
            self._see_to_thread()  # there was none to be had before, perhaps
        return True

    def _see_to_thread(self) -> None:
        if not self._thread_runs and self._missed:
            self._thread_runs = True
            self._thread_runs = background.repeat(self.make_up, PAUSE_SECONDS)

    def make_up(self) -> bool:
        """Invalidate as many as can be; False once nothing is left, and the thread may end."""
        while self._make_up_some():
            pass
        with self._lock:
            self._thread_runs = bool(self._missed)
            return self._thread_runs

    def _make_up_some(self) -> bool:
        """Whether some are made up for, and others are left."""
        some = self._some()
        by_way: dict[Invalidate, list[str]] = {}
        for key, missed in some.items():
            if time.monotonic() < missed.until:
                by_way.setdefault(missed.invalidate, []).append(key)
        try:
            for invalidate, keys in by_way.items():
                invalidate(keys)
        except AWAY as error:
            logger.info("Cells cannot be removed yet: %s", type(error).__name__)
            return self._make_up_one_by_one(some)
        self._made_up(some)
        return bool(self._missed)

    def _make_up_one_by_one(self, some: Mapping[str, _Missed]) -> bool:
        """A node of a cluster may be away, and the others there. It ends at the third failure."""
        failed, done = 0, {}
        for key, missed in some.items():
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

    def _some(self) -> dict[str, _Missed]:
        with self._lock:
            return dict(islice(self._missed.items(), ROUND))

    def _put_last(self, key: str) -> None:
        """Others, on a node that is there, are not to wait for it."""
        with self._lock:
            if key in self._missed:
                self._missed[key] = self._missed.pop(key)

    def _made_up(self, some: Mapping[str, _Missed]) -> None:
        with self._lock:
            for key, missed in some.items():
                if self._missed.get(key) is missed:  # else it was missed again
                    del self._missed[key]
            metrics.MISSED_INVALIDATIONS.set(len(self._missed))
