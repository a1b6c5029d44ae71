"""Redis cells behind circuit breakers: an outage costs next to nothing and hides nothing.

# Note [After an outage]

While the server is away writers cannot take out of it what they change, and it may come back
with all that it held. So what a process missed is remembered, and that process is given nothing
cached under those keys until they are removed. Other processes must not be given it either: each
one removes what it missed within a second or two of the server's return, whether it has calls to
answer or not, and each one that had noticed the outage takes nothing from the cache for
SETTLING_SECONDS. One that had not, because it asked nothing meanwhile, may show what others
missed until they have removed it; a server that keeps nothing on disk comes back empty.
"""

import logging
import time
from collections.abc import Callable, Sequence

from django.conf import settings
from django.core.cache.backends.base import BaseCache
from django_redis.cache import RedisCache

from storage.cache import leases
from storage.cache.breaker import PAUSE
from storage.cache.cells import Cells, NoCells
from storage.cache.erasure import StillThere
from storage.cache.guarded import AWAY, REFUSED, Guard, Guards
from storage.cache.leases import Cell
from storage.cache.missed import MissedInvalidations
from storage.cache.redis_cells import RedisCells
from storage.exceptions import CacheNotErased

logger = logging.getLogger(__name__)

SETTLING_SECONDS = 2 * PAUSE
"""Longer than others need to see that the server is back and to remove what they missed."""


def cells_of(cache: BaseCache, guards: Guards) -> Cells:
    """The cells in a cache of django-redis; in any other, and in none, nothing is cached."""
    if isinstance(cache, RedisCache):
        return ReliableCells(RedisCells(cache), guards, settings.CACHE_TTL)
    return NoCells()


class ReliableCells:
    """Redis cells as readers and writers may ask for them; values live `ttl` seconds at most."""

    patient = True

    def __init__(self, cells: RedisCells, guards: Guards, ttl: float) -> None:
        self._cells = cells
        self._guards = guards
        self._missed = MissedInvalidations(ttl)

    def get(self, key: str) -> Cell:
        busy: Cell = leases.BUSY
        guard = self._guards.of(key)
        missed = self._missed.holds(key)  # before: it may be made up for after the cell was read
        cell = busy if missed else guard.ask(lambda: self._cells.get(key), busy)
        settling = time.monotonic() < guard.back_since + SETTLING_SECONDS
        return busy if settling or self._missed.holds(key) else cell

    def lease(self, key: str, token: bytes) -> bytes | None:
        return self._guards.of(key).ask(lambda: self._cells.lease(key, token), None)

    def fill(self, key: str, token: bytes, value: bytes | None, seconds: float) -> bool:
        return self._guards.of(key).ask(lambda: self._cells.fill(key, token, value, seconds), False)

    def begin(self, key: str, token: bytes, marked: Sequence[str]) -> bytes | None:
        guard, together, others = self._placed(key, marked)
        nothing: bytes | None = None
        begun = guard.ask(lambda: self._cells.begin(key, token, together), nothing)
        for elsewhere, keys in others:
            self._marked(elsewhere, keys)
        return begun

    def end(
        self, key: str, token: bytes, value: bytes | None, seconds: float, marked: Sequence[str]
    ) -> None:
        guard, together, others = self._placed(key, marked)

        def end() -> None:
            self._cells.end(key, token, value, seconds, together)

        # Once more, since what has made `begin` fail too may have been short.
        if not _done(guard, end) and not _done(guard, end):
            self._missed.add([key], self._delete)
            self._missed.add(together, self._cells.mark)
        for _, keys in others:
            self.mark(keys)

    def mark(self, keys: Sequence[str]) -> None:
        for guard, some in self._by_guard(keys):
            if not self._marked(guard, some) and not self._marked(guard, some):
                self._missed.add(some, self._cells.mark)

    def confirmed_mark(self, keys: Sequence[str]) -> bool:
        confirmed = True
        for guard, some in self._by_guard(keys):
            confirmed &= self._marked(guard, some) or self._marked(guard, some)
        return confirmed

    def erase_user(self, user_id: str) -> int:
        try:
            return self._cells.erase_user(user_id)
        except (*AWAY, *REFUSED, StillThere) as error:
            logger.warning("The cache was not erased: %s", type(error).__name__)
            raise CacheNotErased from None  # the client's error may tell the key

    def drop(self, key: str) -> None:
        self._guards.of(key).ask(lambda: self._cells.drop(key), None)

    def _marked(self, guard: Guard, keys: Sequence[str]) -> bool:
        return _done(guard, lambda: self._cells.mark(keys))

    def _delete(self, keys: Sequence[str]) -> None:
        self._cells.delete(*keys)

    def _placed(
        self, key: str, marked: Sequence[str]
    ) -> tuple[Guard, list[str], list[tuple[Guard, list[str]]]]:
        """The guard of a key, the marked keys that are where it is, and those elsewhere."""
        guard, together, others = self._guards.of(key), [], []
        for elsewhere, keys in self._by_guard(marked):
            if elsewhere is guard:
                together = keys
            else:
                others.append((elsewhere, keys))
        return guard, together, others

    def _by_guard(self, keys: Sequence[str]) -> list[tuple[Guard, list[str]]]:
        found: dict[Guard, list[str]] = {}
        for key in keys:
            found.setdefault(self._guards.of(key), []).append(key)
        return list(found.items())


def _done(guard: Guard, do: Callable[[], None]) -> bool:
    def ask() -> bool:
        do()
        return True

    return guard.ask(ask, False)
