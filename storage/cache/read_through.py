"""Reading one key through the cache: the reader's side of the lease protocol.

When many readers miss the same key at once, the first gets the lease and fills the key. The others
wait for that, so the database is asked once. A reader waits for as long as reads of the database
take at present, including their variation (as TCP computes its timeout: RFC 6298), plus one round
trip to the cache. The reader with the lease started earlier. If it has not filled the key by then,
something is wrong with it, and the others ask the database themselves.
"""

import secrets
import time
from abc import ABC, abstractmethod
from typing import Generic, TypeVar

from storage.cache import leases, metrics
from storage.cache.leases import Cell
from storage.cache.reliable_cells import OUTDATED, ReliableCells

T = TypeVar("T")

FIRST_PAUSE = 0.0005
"""Seconds before the first check whether another reader has filled the key. Then doubled."""

LONGEST_WAIT = 0.1
"""The longest wait in seconds, however slow the database is."""

ROUND_TRIP = 0.002
"""Seconds that the other reader may need to fill the key."""

_WEIGHT = 0.1
"""Weight of the latest read in the average duration. Twice as much in the average variation."""


class Unreadable(Exception):
    """The cached value cannot be read, or belongs to another key."""


class Reading(ABC, Generic[T]):
    """One read: its key, how to read the database, and the format of the cached value."""

    counts: metrics.Counts
    key: str
    lag = 0.0
    """The longest time in seconds for which the database may not show a commit."""

    @abstractmethod
    def from_cache(self, value: bytes) -> T | None:
        """Decode a cached value. Returns None if it is out of date. Raises Unreadable."""

    @abstractmethod
    def from_database(self) -> T | None:
        """Read the database, all commits included."""

    @abstractmethod
    def to_cache(self, found: T) -> tuple[bytes | None, float]:
        """Returns the value to cache, None for one that is too large, and for how many seconds."""


class ReadThrough:
    """Reads through the cells of one cache."""

    def __init__(self, cells: ReliableCells) -> None:
        self._cells = cells
        self._usual_seconds = 0.01
        self._spread = 0.005

    def get(self, reading: Reading[T]) -> T | None:
        """Returns the cached value. If there is none, reads the database and caches the result."""
        cell = self._cells.get(reading.key)
        found = self._accepted(reading, cell)
        if found is not None:
            reading.counts.hit.inc()
            return found
        if not leases.is_lease_or_mark(cell):
            token = self._cells.lease(reading.key, new_token(), reading.lag)
            if token is not None:
                reading.counts.miss.inc()
                return self._fill(reading, token)
        if leases.is_leased(cell) or not leases.is_lease_or_mark(cell):
            found = self._accepted(reading, self._wait(reading.key))
            if found is not None:
                reading.counts.waited.inc()
                return found
        reading.counts.busy.inc()
        return self._timed(reading)

    def _accepted(self, reading: Reading[T], cell: Cell) -> T | None:
        """Returns the decoded value of a cell. Drops a cell whose value is of no use."""
        if cell is None or leases.is_lease_or_mark(cell):
            return None
        value = leases.value_of(cell)
        try:
            found = None if value is None else reading.from_cache(value)
            if found is not None:
                return found
            is_unfit = value is None and cell is not OUTDATED
            reason = reading.counts.unfit if is_unfit else reading.counts.outdated
        except Unreadable:
            reason = reading.counts.unfit
        reason.inc()
        self._cells.drop(reading.key)
        return None

    def _wait(self, key: str) -> Cell:
        """Wait until another reader has filled the key. Returns its cell, or BUSY if it has not."""
        pause = FIRST_PAUSE
        deadline = time.monotonic() + min(self._patience(), LONGEST_WAIT)
        while (left := deadline - time.monotonic()) > 0:
            time.sleep(min(pause, left))
            cell = self._cells.get(key)
            if not leases.is_leased(cell):
                return cell
            pause *= 2
        return leases.BUSY

    def _fill(self, reading: Reading[T], token: bytes) -> T | None:
        try:
            found = self._timed(reading)
        except BaseException:
            self._cells.fill(reading.key, token, None, 0)
            raise
        value, seconds = (None, 0.0) if found is None else reading.to_cache(found)
        filled = self._cells.fill(reading.key, token, value, seconds)
        if value is not None:
            (reading.counts.filled if filled else reading.counts.refused).inc()
        return found

    def _timed(self, reading: Reading[T]) -> T | None:
        start = time.monotonic()
        found = reading.from_database()
        error = time.monotonic() - start - self._usual_seconds
        self._usual_seconds += _WEIGHT * error
        self._spread += 2 * _WEIGHT * (abs(error) - self._spread)
        return found

    def _patience(self) -> float:
        """How many seconds to wait for another reader."""
        return self._usual_seconds + 4 * self._spread + ROUND_TRIP


def new_token() -> bytes:
    """A random token that identifies one reader or writer."""
    return secrets.token_hex(8).encode()
