"""Reading what is under one key through the cache: the reader's side of the lease protocol.

# Note [Waiting for another reader]

When many miss the same key at once, the first has the lease and the others wait for what it
fills, so that the database is asked once. Nobody waits longer than reads of the database take
lately, their spread included (as TCP waits for an answer: RFC 6298), and one round trip to the
cache: the reader who fills started earlier, so its value comes first, or something is wrong with
it and each asks the database itself. Where a read costs less than the wait
(`Cells.patient`), nobody waits.
"""

import secrets
import time
from abc import ABC, abstractmethod
from typing import Generic, TypeVar

from storage.cache import leases, metrics
from storage.cache.cells import Cells
from storage.cache.leases import Cell

T = TypeVar("T")

FIRST_PAUSE = 0.0005
"""Seconds between two looks at a key that another reader is about to fill; then doubled."""

LONGEST_WAIT = 0.1
"""Seconds, however slow the database is at present."""

ROUND_TRIP = 0.002
"""Seconds that the other reader may need to fill."""

_WEIGHT = 0.1
"""Of the latest read in the average; in that of the spread, twice as much."""


class Unfit(Exception):
    """What is cached cannot be read, or belongs elsewhere."""


class Reading(ABC, Generic[T]):
    """What to read, and how it is cached."""

    counts: metrics.Counts
    key: str

    @abstractmethod
    def from_cache(self, value: bytes) -> T | None:
        """What a cached value stands for; None if that is outdated. Raises Unfit."""

    @abstractmethod
    def from_database(self) -> T | None:
        """What the database has at this moment, all commits included."""

    @abstractmethod
    def to_cache(self, found: T) -> tuple[bytes, float]:
        """The value to cache, and for how many seconds."""


class ReadThrough:
    """Reads through one place of cells."""

    def __init__(self, cells: Cells) -> None:
        self._cells = cells
        self._usual_seconds = 0.01
        self._spread = 0.005

    def get(self, reading: Reading[T]) -> T | None:
        """What is cached or, if there is nothing, in the database, which is then cached."""
        cell = self._cells.get(reading.key)
        found = self._accepted(reading, cell)
        if found is not None:
            reading.counts.hit.inc()
            return found
        if not leases.is_mark(cell):
            token = self._cells.lease(reading.key, new_token())
            if token is not None:
                reading.counts.miss.inc()
                return self._fill(reading, token)
        if self._cells.patient and (leases.is_leased(cell) or not leases.is_mark(cell)):
            found = self._accepted(reading, self._wait(reading.key))
            if found is not None:
                reading.counts.waited.inc()
                return found
        reading.counts.busy.inc()
        return self._timed(reading)

    def _accepted(self, reading: Reading[T], cell: Cell) -> T | None:
        if cell is None or leases.is_mark(cell):
            return None
        value = leases.value_of(cell)
        try:
            found = None if value is None else reading.from_cache(value)
            if found is not None:
                return found
            reason = reading.counts.unfit if value is None else reading.counts.outdated
        except Unfit:
            reason = reading.counts.unfit
        reason.inc()
        self._cells.drop(reading.key)
        return None

    def _wait(self, key: str) -> Cell:
        """What another reader has filled; else what is there when the wait is over."""
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
        if found is not None:
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
        """Seconds to wait for another reader."""
        return self._usual_seconds + 4 * self._spread + ROUND_TRIP


def new_token() -> bytes:
    """Tells one reader or writer from all others."""
    return secrets.token_hex(8).encode()
