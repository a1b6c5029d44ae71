"""Wrong passwords: after how many of them how long no more are tried."""

import time

from storage.rate_limits.table import NOTHING, Entry, Table

LOCK_MS = 15 * 60 * 1000
"""How long the first lock-out takes, and after how long without another one failures count no
more."""

FORGET_MS = 24 * 60 * 60 * 1000
"""After how long without a failure the lock-outs before are forgotten."""

LONGEST = 6
"""How often a lock-out can double: up to 16 hours."""


class Lockouts:
    """Counts failures by the digest of what they have in common.

    A lock-out starts with the last failure, takes twice as long as the one before, and is not
    prolonged by attempts meanwhile.
    """

    def __init__(self, table: Table) -> None:
        self._table = table

    def attempt(self, tries: dict[bytes, int]) -> int:
        """Count an attempt as failed, unless a digest has had as many failures as it may have.

        Returns the seconds until all of them may try again; 0 if the attempt was counted.
        """
        now = int(time.monotonic() * 1000)
        with self._table as table:
            entries = {digest: _current(table.read(digest), now) for digest in tries}
            if wait := _seconds(entries, tries, now):
                return wait
            for digest, most in tries.items():
                table.write(digest, now, _failed(entries[digest], most, now))
        return 0

    def wait(self, tries: dict[bytes, int]) -> int:
        """Returns the seconds until all may try again, 0 if they may now. Counts nothing."""
        now = int(time.monotonic() * 1000)
        with self._table as table:
            entries = {digest: _current(table.read(digest), now) for digest in tries}
        return _seconds(entries, tries, now)

    def take_back(self, digest: bytes) -> None:
        """Take back the last attempt, which has turned out not to be a failure."""
        now = int(time.monotonic() * 1000)
        with self._table as table:
            entry = _current(table.read(digest), now)
            if entry.current:
                table.write(digest, now, entry._replace(current=entry.current - 1))

    def forget(self, digest: bytes) -> None:
        """Forget all failures, and lift the lock-out."""
        with self._table as table:
            table.remove(digest)

    def lift(self, digest: bytes) -> None:
        """Lift lock-outs whose own digests are not known. Whoever makes these asks `lifted`."""
        now = int(time.monotonic() * 1000)
        with self._table as table:
            table.write(digest, now, Entry(now + FORGET_MS, 0, 1))

    def lifted(self, digest: bytes) -> int:
        """Returns a number of the last `lift`, 0 if none can have left anything to lift."""
        now = int(time.monotonic() * 1000)
        with self._table as table:
            return _current(table.read(digest), now).expires


def _current(found: tuple[int, int, int], now: int) -> Entry:
    """The entry if it still means something; `previous` counts lock-outs, `current` failures.

    After a restart of the machine its clock is back at 0: an entry of the future is none.
    """
    entry = Entry(*found)
    return entry if now < entry.expires <= now + FORGET_MS else NOTHING


def _seconds(entries: dict[bytes, Entry], tries: dict[bytes, int], now: int) -> int:
    longest = max(_wait_ms(entries[digest], most, now) for digest, most in tries.items())
    return -(-longest // 1000)


def _wait_ms(entry: Entry, most: int, now: int) -> int:
    if entry.current < most:
        return 0
    failed_at = entry.expires - FORGET_MS
    return max(0, failed_at + LOCK_MS * 2 ** min(entry.previous, LONGEST) - now)


def _failed(entry: Entry, most: int, now: int) -> Entry:
    lockouts, failures = entry.previous, entry.current
    if failures >= most:
        lockouts, failures = lockouts + 1, 0
    elif entry.expires - FORGET_MS + LOCK_MS <= now:
        failures = 0
    return Entry(now + FORGET_MS, lockouts, failures + 1)
