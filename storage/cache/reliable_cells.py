"""Redis cells behind a circuit breaker: an outage costs next to nothing and hides nothing.

What a writer could not take out of the cache is remembered, and taken out before anything
that is cached is given again.
"""

import threading
import time
from collections.abc import Callable
from itertools import islice
from typing import TypeVar

from django.conf import settings
from django.core.cache.backends.base import BaseCache
from django_redis.cache import RedisCache

from storage.cache import leases
from storage.cache.guarded import Guard
from storage.cache.interactions import Cells
from storage.cache.leases import Cell
from storage.cache.redis_cells import RedisCells

T = TypeVar("T")

REMEMBERED = 10_000
"""Keys remembered at most. With more, nothing cached is given until the last is out of date."""

MADE_UP_AT_ONCE = 100
"""Keys removed before one call goes on; while there are more, calls are told that all is busy."""


def cells_of(cache: BaseCache, guard: Guard) -> Cells:
    """The cells in a cache of django-redis; in any other, and in none, nothing is cached."""
    if isinstance(cache, RedisCache):
        return ReliableCells(RedisCells(cache), guard, settings.CACHE_TTL)
    return NoCells()


class NoCells:
    """Without a cache server every key is busy."""

    def get(self, key: str) -> Cell:
        return leases.BUSY

    def lease(self, key: str, token: bytes) -> bool:
        return False

    def fill(self, key: str, token: bytes, value: bytes, seconds: float) -> None:
        pass

    def begin(self, key: str, token: bytes) -> bool:
        return False

    def end(self, key: str, token: bytes, value: bytes | None, seconds: float) -> None:
        pass

    def drop(self, key: str) -> None:
        pass


class ReliableCells:
    """The cells of `storage.cache.interactions`; values live `ttl` seconds at most."""

    def __init__(self, cells: RedisCells, guard: Guard, ttl: float) -> None:
        self._cells = cells
        self._guard = guard
        self._missed = MissedInvalidations(ttl)

    def get(self, key: str) -> Cell:
        busy: Cell = leases.BUSY
        return self._ask(lambda: self._cells.get(key), busy)

    def lease(self, key: str, token: bytes) -> bool:
        return self._ask(lambda: self._cells.lease(key, token), False)

    def fill(self, key: str, token: bytes, value: bytes, seconds: float) -> None:
        self._ask(lambda: self._cells.fill(key, token, value, seconds), None)

    def begin(self, key: str, token: bytes) -> bool:
        return self._done(lambda: self._cells.begin(key, token))

    def end(self, key: str, token: bytes, value: bytes | None, seconds: float) -> None:
        if not self._done(lambda: self._cells.end(key, token, value, seconds)):
            self._missed.add(key)

    def drop(self, key: str) -> None:
        self._ask(lambda: self._cells.delete(key), None)

    def _done(self, do: Callable[[], None]) -> bool:
        def ask() -> bool:
            do()
            return True

        return self._ask(ask, False)

    def _ask(self, ask: Callable[[], T], otherwise: T) -> T:
        def made_up_first() -> T:
            return ask() if self._missed.make_up(self._cells.delete) else otherwise

        return self._guard.ask(made_up_first, otherwise)


class MissedInvalidations:
    """Keys whose cells may be out of date, until their values have ended by themselves."""

    def __init__(self, ttl: float) -> None:
        self._ttl = ttl
        self._lock = threading.Lock()
        self._until: dict[str, float] = {}
        self._all_until = 0.0

    def add(self, key: str) -> None:
        """Remember a key that could not be invalidated."""
        with self._lock:
            until = time.monotonic() + self._ttl
            self._until[key] = until
            if len(self._until) > REMEMBERED:
                self._until.clear()
                self._all_until = until

    def make_up(self, delete: Callable[[str], None]) -> bool:
        """Invalidate what was missed; whether cells can be relied on then. Raises as `delete`."""
        if not self._until and not self._all_until:
            return True
        with self._lock:
            for key, until in list(islice(self._until.items(), MADE_UP_AT_ONCE)):
                if time.monotonic() < until:
                    delete(key)
                del self._until[key]
            if time.monotonic() >= self._all_until:
                self._all_until = 0.0
            return not self._until and not self._all_until
