"""Counts calls for all processes of this machine."""

import time

from storage.rate_limits.table import Entry, Table
from storage.rate_limits.windows import WINDOW_MS, Verdict, used, verdict


class LocalWindows:
    """Sliding windows in a table. Their clock is monotonic: nobody can set it."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def take(self, digest: bytes, quota: int) -> Verdict:
        now = int(time.monotonic() * 1000)
        index, passed = divmod(now, WINDOW_MS)
        with self._table as table:
            previous, current = _counts(table.read(digest), index)
            allowed = used(previous, current, passed) < quota
            if allowed:
                current += 1
                table.write(digest, _entry(index, previous, current), now)
        return verdict(quota, previous, current, passed, allowed)

    def give_back(self, digest: bytes) -> None:
        now = int(time.monotonic() * 1000)
        index = now // WINDOW_MS
        with self._table as table:
            previous, current = _counts(table.read(digest), index)
            if current:
                table.write(digest, _entry(index, previous, current - 1), now)


def _entry(index: int, previous: int, current: int) -> Entry:
    return Entry((index + 2) * WINDOW_MS, previous, current)


def _counts(entry: Entry, index: int) -> tuple[int, int]:
    """The counts of the window before and of the current one, from an entry that may be older.

    After a restart of the machine its clock is back at 0: an entry of the future is none.
    """
    age = index + 2 - entry.expires // WINDOW_MS
    if age == 0:
        return entry.previous, entry.current
    return (entry.current, 0) if age == 1 else (0, 0)
