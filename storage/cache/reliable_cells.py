"""Redis cells behind circuit breakers: an outage costs little time and leads to no stale reads.

During an outage a writer cannot invalidate keys, and the server may come back with its old values.
So each process remembers the keys that it could not invalidate, and treats them as not cached until
it has. It does so within a second or two of the server's return, even if it has no calls to answer.
To give other processes that time, every process that noticed the outage reads nothing from the
cache for SETTLING_SECONDS.

One gap remains. A process that made no call during the outage has not noticed it, and may return
what others have yet to invalidate. A server that keeps nothing on disk has no such gap: it comes
back empty.
"""

import logging
import time
from collections.abc import Callable, Sequence

from storage.cache import leases
from storage.cache.breaker import PAUSE
from storage.cache.erasure import StillThere
from storage.cache.guarded import AWAY, REFUSED, Guard, Guards
from storage.cache.leases import Cell
from storage.cache.missed import MissedInvalidations
from storage.cache.redis_cells import RedisCells
from storage.exceptions import CacheNotErased

logger = logging.getLogger(__name__)

SETTLING_SECONDS = 2 * PAUSE
"""Longer than other processes need to notice the return and to invalidate what they missed."""


class ReliableCells:
    """The cells for readers and writers (`storage.cache.leases`). Values live up to `ttl` seconds.

    Only `erase_user` raises. When the server does not respond, a key is busy for the others.
    """

    def __init__(self, cells: RedisCells, guards: Guards, ttl: float) -> None:
        self._cells = cells
        self._guards = guards
        self._missed = MissedInvalidations(ttl)

    def get(self, key: str) -> Cell:
        """Returns the cell, or BUSY if it is unknown."""
        busy: Cell = leases.BUSY
        guard = self._guards.of(key)
        missed = self._missed.holds(
            key
        )  # before the read as well: the key may be caught up just after it
        cell = busy if missed else guard.ask(lambda: self._cells.get(key), busy)
        settling = time.monotonic() < guard.back_since + SETTLING_SECONDS
        return busy if settling or self._missed.holds(key) else cell

    def lease(self, key: str, token: bytes) -> bytes | None:
        """Take a reader's lease. Returns its token, made from `token`, or None without a lease."""
        return self._guards.of(key).ask(lambda: self._cells.lease(key, token), None)

    def fill(self, key: str, token: bytes, value: bytes | None, seconds: float) -> bool:
        """Replace the lease by a value, or end it if None. Returns whether it still existed."""
        return self._guards.of(key).ask(lambda: self._cells.fill(key, token, value, seconds), False)

    def begin(self, key: str, token: bytes, marked: Sequence[str]) -> bytes | None:
        """Mark `key` before a commit, and the keys in `marked`, whose values depend on it.

        Returns the writer's token, made from `token`, or None if the mark was not confirmed.
        """
        guard, together, others = self._placed(key, marked)
        nothing: bytes | None = None
        begun = guard.ask(lambda: self._cells.begin(key, token, together), nothing)
        for elsewhere, keys in others:
            self._marked(elsewhere, keys)
        return begun

    def end(
        self, key: str, token: bytes, value: bytes | None, seconds: float, marked: Sequence[str]
    ) -> None:
        """Cache `value` after its commit, or remove the key if None; mark `marked` once more."""
        guard, together, others = self._placed(key, marked)

        def end() -> None:
            self._cells.end(key, token, value, seconds, together)

        # Twice, since the failure may have been a short one.
        if not _done(guard, end) and not _done(guard, end):
            self._missed.add([key], self._delete)
            self._missed.add(together, self._cells.mark)
        for _, keys in others:
            self.mark(keys)

    def mark(self, keys: Sequence[str]) -> None:
        """Mark keys before or after a commit on which their values depend."""
        for guard, part in self._by_guard(keys):
            if not self._marked(guard, part) and not self._marked(guard, part):
                self._missed.add(part, self._cells.mark)

    def confirmed_mark(self, keys: Sequence[str]) -> bool:
        """As `mark`. Returns whether it is certain that none of the keys holds a value."""
        confirmed = True
        for guard, part in self._by_guard(keys):
            confirmed &= self._marked(guard, part) or self._marked(guard, part)
        return confirmed

    def erase_user(self, user_id: str) -> int:
        """Remove all entries of a user; returns their number.

        Raises CacheNotErased unless it is certain that none is left.
        """
        try:
            return self._cells.erase_user(user_id)
        except (*AWAY, *REFUSED, StillThere) as error:
            logger.warning("The cache was not erased: %s", type(error).__name__)
            raise CacheNotErased from None  # the client's error may contain the key

    def drop(self, key: str) -> None:
        """Remove a value that is of no use."""
        self._guards.of(key).ask(lambda: self._cells.drop(key), None)

    def _marked(self, guard: Guard, keys: Sequence[str]) -> bool:
        return _done(guard, lambda: self._cells.mark(keys))

    def _delete(self, keys: Sequence[str]) -> None:
        self._cells.delete(*keys)

    def _placed(
        self, key: str, marked: Sequence[str]
    ) -> tuple[Guard, list[str], list[tuple[Guard, list[str]]]]:
        """The guard of a key, the marked keys with that guard, and the others by their guard."""
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
