"""Redis cells behind circuit breakers: an outage costs little time and leads to no stale reads.

During an outage a writer cannot invalidate keys, and the server may come back with its old values.
So it starts a new generation of them (`storage.cache.generations`), and values of an earlier one
are not used. That holds for every process, and however the writer ends.

Other processes learn of it within a second. One that has noticed the outage itself does not wait
for that: it uses nothing for SETTLING_SECONDS after the server's return, until others have noticed
the return as well, and then looks.
"""

import logging
import time
from collections.abc import Callable, Iterable, Sequence

from storage.cache import leases, metrics
from storage.cache.breaker import PAUSE
from storage.cache.erasure import StillThere
from storage.cache.generations import Generations
from storage.cache.guarded import AWAY, REFUSED, Guard, Guards
from storage.cache.leases import Cell
from storage.cache.redis_cells import RedisCells
from storage.exceptions import CacheNotErased

logger = logging.getLogger(__name__)

SETTLING_SECONDS = 2 * PAUSE
"""Longer than other processes need to notice the return. Until then they only start generations."""

OUTDATED: Cell = b"outdated"
"""Stands for a value of an earlier generation. Redis never holds it."""

_DIGITS = 18
"""More than any generation has."""


class ReliableCells:
    """The cells for readers and writers (`storage.cache.leases`), with generations.

    A value begins with the digits of its generation, and a token with those of the generation that
    its value will have. Generation 0 is not written before a value, since most keys never have
    another.

    When the server does not respond, a key is busy for readers. Only `erase_user` raises, and what
    follows a commit: StorageUnavailable, if neither the server nor the database took note of it.
    """

    def __init__(self, cells: RedisCells, guards: Guards, generations: Generations) -> None:
        self._cells = cells
        self._guards = guards
        self._generations = generations

    def get(self, key: str) -> Cell:
        """Returns the cell as `usable` gives it, or BUSY if the server does not respond."""
        busy: Cell = leases.BUSY
        return self.usable(key, self._guards.of(key).ask(lambda: self._cells.get(key), busy))

    def usable(self, key: str, cell: Cell) -> Cell:
        """Returns a value's cell without its generation. Other cells are returned as they are.

        OUTDATED if it is of an earlier generation, BUSY if nobody can say that at present.
        """
        if cell is None or not cell.startswith(b"V"):
            return cell
        settled = self._guards.of(key).back_since + SETTLING_SECONDS
        if time.monotonic() < settled:
            return leases.BUSY
        current = self._generations.current(self._guards.group_of(key), settled)
        if current is None:
            return leases.BUSY
        generation, value = _without_generation(cell)
        return value if generation >= current else OUTDATED

    def lease(self, key: str, token: bytes, lag: float = 0.0) -> bytes | None:
        """Take a reader's lease. Returns its token, made from `token`, or None without a lease.

        What the reader is about to read may lag `lag` seconds behind the last commit.
        """
        generation = self._generations.known(self._guards.group_of(key), lag)
        if generation is None:
            return None
        token = b"%d.%s" % (generation, token)
        return self._guards.of(key).ask(lambda: self._cells.lease(key, token), None)

    def fill(self, key: str, token: bytes, value: bytes | None, seconds: float) -> bool:
        """Replace the lease by a value, or end it if None. Returns whether it still existed."""
        value = _as_old_as(token, value)
        return self._guards.of(key).ask(lambda: self._cells.fill(key, token, value, seconds), False)

    def begin(self, key: str, token: bytes, marked: Sequence[str]) -> bytes | None:
        """Mark `key` before a commit, and the keys in `marked`, whose values depend on it.

        Returns the writer's token, made from `token`, or None if the mark was not confirmed.
        """
        guard, together, others = self._placed(key, marked)
        generation = self._generations.known(self._guards.group_of(key))
        token = b"%s.%s" % (b"" if generation is None else b"%d" % generation, token)
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
        value = _as_old_as(token, value)

        def end() -> None:
            self._cells.end(key, token, value, seconds, together)

        # Twice, since the failure may have been a short one.
        is_done = _done(guard, end) or _done(guard, end)
        missed = [] if is_done else [key, *together]
        self._advance(missed + self._unmarked(others))

    def mark(self, keys: Sequence[str]) -> None:
        """Mark keys before a commit on which their values depend."""
        for guard, part in self._by_guard(keys):
            self._marked(guard, part)

    def mark_again(self, keys: Sequence[str]) -> None:
        """Mark keys after a commit on which their values depend."""
        self._advance(self._unmarked(self._by_guard(keys)))

    def confirmed_mark(self, keys: Sequence[str]) -> bool:
        """As `mark`. Returns whether it is certain that none of the keys holds a value."""
        return not self._unmarked(self._by_guard(keys))

    def erase_user(self, user_id: str, check_time: Callable[[], None] = lambda: None) -> int:
        """Remove all entries of a user; returns their number.

        Raises CacheNotErased unless it is certain that none is left, and what `check_time` raises.
        """
        try:
            return self._cells.erase_user(user_id, check_time)
        except (*AWAY, *REFUSED, StillThere) as error:
            logger.warning("The cache was not erased: %s", type(error).__name__)
            raise CacheNotErased from None  # the client's error may contain the key

    def drop(self, key: str) -> None:
        """Remove a value that is of no use."""
        self._guards.of(key).ask(lambda: self._cells.drop(key), None)

    def _marked(self, guard: Guard, keys: Sequence[str]) -> bool:
        return _done(guard, lambda: self._cells.mark(keys))

    def _unmarked(self, parts: Iterable[tuple[Guard, Sequence[str]]]) -> list[str]:
        """Mark keys by their guard, trying twice. Returns those for which that failed."""
        missed: list[str] = []
        for guard, keys in parts:
            if not self._marked(guard, keys) and not self._marked(guard, keys):
                missed += keys
        return missed

    def _advance(self, missed: Sequence[str]) -> None:
        """Make sure that values of these keys are not used, as they could not be invalidated."""
        if missed:
            metrics.MISSED_INVALIDATIONS.inc(len(missed))
            self._generations.advance({self._guards.group_of(key) for key in missed})

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


def _as_old_as(token: bytes, value: bytes | None) -> bytes | None:
    """The value with the generation in the token; None if it has none."""
    generation = token.partition(b".")[0]
    if value is None or not generation:
        return None
    return value if generation == b"0" else generation + value


def _without_generation(cell: bytes) -> tuple[int, bytes]:
    """The generation of a value's cell, and the cell without it. No value begins with a digit."""
    if not cell[1:2].isdigit():
        return 0, cell
    value = cell[1:].lstrip(b"0123456789")
    digits = cell[1 : len(cell) - len(value)]
    return int(digits[:_DIGITS]), b"V" + value
