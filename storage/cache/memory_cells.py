"""The cells of `storage.cache.leases` in the memory of one process, before a SQLite database.

Values are in an in-memory cache of Django's; leases and writers' marks beside it, in a
dictionary, because each read and write makes some and takes them away again.

# Note [Commits of others]

Other processes write the database too, and cannot reach this memory. So before a cell is given
`DataVersion` is asked whether anything has been committed. If so, all cells are forgotten,
leases and marks included: a reader who read before that commit has no lease any more.

This process's own commits change the data version too. A writer's cells say all that there is
to say of its commit, so what is cached may stay, if that commit is the only one. A writer knows
by the same pragma on its own connection, which its own commits do not change:

    look (own connection); begin, which forgets if others have committed; commit;
    take the new version; look (own connection) again: unchanged, so the version is ours

A read must see what is committed at that moment. One on a connection with an unfinished SELECT
(`queryset.iterator()`) would see an older state and cache it: end such a SELECT first.

Whatever else commits, be it other tables, batches, or another thread in between, leaves the
version unexplained, and all is forgotten.

# Note [Erasures]

What is forgotten is not looked up again, but its bytes stay in memory until others need the room
(Django drops what has expired only when it is asked for, or when there is too much); and the
strings of the application, which lie in the same cache, follow from no commit. When a person is
erased, be it by another process, all of it must go. So an erasure counts `PRAGMA user_version` up,
and whoever notices a commit of another compares it.

# Note [What cannot happen in memory]

Nothing is lost or late here, and with a writer that dies the memory is gone. Nor does an index
of SQLite's lag. So the keys that follow from a commit need no mark: to free them after it, leases
included, is enough.
"""

import threading
import time
import uuid
from collections.abc import Callable, Sequence
from sqlite3 import Error

from django.core.cache.backends.base import BaseCache

from storage.cache import leases
from storage.cache.data_version import DataVersion
from storage.cache.leases import LEASE_SECONDS, Cell

MARKS = 10_000
"""Leases and marks at once. With more, all is forgotten."""


class MemoryCells:
    """Cells of this process. What is in them, this process has put there."""

    patient = False  # a read by id takes SQLite less time than it takes to wake a thread

    def __init__(self, cache: BaseCache, data_version: DataVersion) -> None:
        self._values = cache
        self._marks: dict[str, tuple[bytes, float]] = {}
        self._data_version = data_version
        self._lock = threading.Lock()
        self._known_version = ""
        self._known_erasures: int | None = None
        self._own = uuid.uuid4().hex
        self._generation = 0

    def get(self, key: str) -> Cell:
        """Raises sqlite3.Error: a database that cannot be looked at cannot be read either."""
        with self._lock:
            self._forget_if_changed()
            return self._cell(key)

    def lease(self, key: str, token: bytes) -> bytes | None:
        with self._lock:
            before = self._cell(key)
            self._put(key, before, leases.lease(before, token))
            return token if before is None else None

    def fill(self, key: str, token: bytes, value: bytes | None, seconds: float) -> bool:
        with self._lock:
            before = self._cell(key)
            after = leases.fill(before, token, value)
            self._put(key, before, after, seconds)
            return after != before

    def begin(self, key: str, token: bytes, marked: Sequence[str]) -> bytes | None:
        with self._lock:
            try:
                self._forget_if_changed()
                confirmed = True
            except Error:  # whether it can be written is for the write to tell
                confirmed = False
            before = self._cell(key)
            self._put(key, before, leases.begin(before, token))
            return token if confirmed else None

    def end(
        self, key: str, token: bytes, value: bytes | None, seconds: float, marked: Sequence[str]
    ) -> None:
        with self._lock:
            before = self._cell(key)
            self._put(key, before, leases.end(before, token, value), seconds)
            self._free(marked)

    def mark(self, keys: Sequence[str]) -> None:
        with self._lock:
            self._free(keys)

    def confirmed_mark(self, keys: Sequence[str]) -> bool:
        self.mark(keys)
        return True

    def erase_user(self, user_id: str) -> int:
        """All goes, whoever it is of: keys in memory cannot be listed. See Note [Erasures]."""
        with self._lock:
            self._forget()
            self._values.clear()
        return 0

    def look(self) -> bool:
        """Whether it is certain that nothing is in the cache that was erased."""
        with self._lock:
            try:
                self._forget_if_changed()
            except Error:
                return False
        return True

    def drop(self, key: str) -> None:
        with self._lock:
            before = self._cell(key)
            self._put(key, before, leases.drop(before))

    def committed(self, only_this: Callable[[], bool]) -> None:
        """A writer has committed between `begin` and now; `only_this` if nobody else has.

        Raises what `only_this` does, and sqlite3.Error.
        """
        with self._lock:
            version = self._data_version.current()
            if only_this():
                self._known_version = version

    def _forget_if_changed(self) -> None:
        version = self._data_version.current()
        if version != self._known_version:
            erasures = self._data_version.erasures()
            if erasures != self._known_erasures:
                self._values.clear()
                self._known_erasures = erasures
            self._known_version = version
            self._forget()

    def _forget(self) -> None:
        """Values that are forgotten are never looked up again.

        To drop them, too, would take the application's strings along, which this cache has as well
        and which commits say nothing of; an erasure does. Else they stay until they are replaced.
        """
        self._generation += 1
        self._marks.clear()

    def _cell(self, key: str) -> Cell:
        mark = self._marks.get(key)
        if mark is not None:
            cell, until = mark
            if time.monotonic() < until:
                return cell
            del self._marks[key]
            return None
        found: Cell = self._values.get(self._place(key))
        return found

    def _put(self, key: str, before: Cell, after: Cell, seconds: float = 0.0) -> None:
        """A key has a mark or a value, never both: a mark that ends must not uncover a value."""
        if after == before:
            return
        if leases.value_of(after) is not None:
            self._marks.pop(key, None)
            self._values.set(self._place(key), after, seconds)
            return
        if leases.value_of(before) is not None:
            self._values.delete(self._place(key))
        if after is None:
            self._marks.pop(key, None)
            return
        if len(self._marks) >= MARKS:
            self._forget()
        self._marks[key] = after, time.monotonic() + LEASE_SECONDS

    def _free(self, keys: Sequence[str]) -> None:
        for key in keys:
            self._put(key, self._cell(key), None)

    def _place(self, key: str) -> str:
        return f"{key}:{self._own}:{self._generation}"
