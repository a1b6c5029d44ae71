"""Redis cells behind a circuit breaker: an outage costs next to nothing and hides nothing.

# Note [After an outage]

While the server is away writers cannot take out of it what they change, and it may come back
with all that it held. So what a process missed is remembered and removed before that process is
given anything cached again. Other processes must not be given it either: each one removes what
it missed within a second or two of the server's return, whether it has calls to answer or not,
and each one that had noticed the outage takes nothing from the cache for SETTLING_SECONDS.
"""

import threading
import time
import weakref
from collections.abc import Callable, Sequence
from typing import TypeVar

from django.conf import settings
from django.core.cache.backends.base import BaseCache
from django_redis.cache import RedisCache

from storage.breaker import PAUSE
from storage.cache import leases
from storage.cache.cells import Cells, NoCells
from storage.cache.guarded import Guard
from storage.cache.leases import Cell
from storage.cache.missed import MissedInvalidations
from storage.cache.redis_cells import RedisCells

T = TypeVar("T")

MAKING_UP_SECONDS = 0.2
"""Between two attempts to remove what was missed."""

SETTLING_SECONDS = 2 * PAUSE
"""Longer than others need to see that the server is back: a PAUSE of theirs and one attempt."""


def cells_of(cache: BaseCache, guard: Guard) -> Cells:
    """The cells in a cache of django-redis; in any other, and in none, nothing is cached."""
    if isinstance(cache, RedisCache):
        return ReliableCells(RedisCells(cache), guard, settings.CACHE_TTL)
    return NoCells()


class ReliableCells:
    """Redis cells as readers and writers may ask for them; values live `ttl` seconds at most."""

    patient = True

    def __init__(self, cells: RedisCells, guard: Guard, ttl: float) -> None:
        self._cells = cells
        self._guard = guard
        self._missed = MissedInvalidations(ttl)
        self._making_up = threading.Lock()

    def get(self, key: str) -> Cell:
        busy: Cell = leases.BUSY
        if time.monotonic() < self._guard.back_since + SETTLING_SECONDS:
            return busy
        return self._ask(lambda: self._cells.get(key), busy)

    def lease(self, key: str, token: bytes) -> bool:
        return self._ask(lambda: self._cells.lease(key, token), False)

    def fill(self, key: str, token: bytes, value: bytes | None, seconds: float) -> bool:
        return self._ask(lambda: self._cells.fill(key, token, value, seconds), False)

    def begin(self, key: str, token: bytes, marked: Sequence[str]) -> bool:
        return self._done(lambda: self._cells.begin(key, token, marked))

    def end(
        self, key: str, token: bytes, value: bytes | None, seconds: float, marked: Sequence[str]
    ) -> None:
        if not self._done(lambda: self._cells.end(key, token, value, seconds, marked)):
            self._remember([key, *marked])

    def mark(self, keys: Sequence[str]) -> None:
        if keys and not self._done(lambda: self._cells.mark(keys)):
            self._remember(keys)

    def drop(self, key: str) -> None:
        self._ask(lambda: self._cells.drop(key), None)

    def _done(self, do: Callable[[], None]) -> bool:
        def ask() -> bool:
            do()
            return True

        return self._ask(ask, False)

    def _ask(self, ask: Callable[[], T], otherwise: T) -> T:
        def made_up_first() -> T:
            return ask() if self._missed.make_up(self._cells.delete) else otherwise

        return self._guard.ask(made_up_first, otherwise)

    def _remember(self, keys: Sequence[str]) -> None:
        self._missed.add(keys)
        self._start_making_up()

    def _start_making_up(self) -> None:
        if self._missed.any() and self._making_up.acquire(blocking=False):
            own = weakref.ref(self)  # the thread ends when these cells are used no more
            threading.Thread(target=_make_up, args=(own,), name="cache", daemon=True).start()

    def _make_up(self) -> bool:
        """Make up for what was missed, or some of it; whether there is more."""
        self._ask(lambda: None, None)
        if self._missed.any():
            return True
        self._making_up.release()
        self._start_making_up()  # for what was missed since that look
        return False


def _make_up(find: Callable[[], ReliableCells | None]) -> None:
    while (cells := find()) is not None and cells._make_up():
        del cells
        time.sleep(MAKING_UP_SECONDS)
