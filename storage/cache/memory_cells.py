"""The cells of `storage.cache.leases` in the memory of one process, before a SQLite database.

# Note [Commits of others]

Other processes write the database too, and cannot reach this memory. So before a cell is given
`DataVersion` is asked whether anything has been committed. If so, all cells are forgotten,
leases and marks included: a reader who read before that commit has no lease any more.

This process's own commits change the data version too. A writer's cells say all that there is
to say of its commit, so what is cached may stay, if that commit is the only one. A writer knows
by the same pragma on its own connection, which its own commits do not change:

    look (own connection); begin, which forgets if others have committed; commit;
    take the new version; look (own connection) again: unchanged, so the version is ours

Whatever else commits, be it other tables, batches, or another thread in between, leaves the
version unexplained, and all is forgotten.
"""

import threading
import uuid
from collections.abc import Callable, Sequence
from sqlite3 import Error

from django.core.cache.backends.base import BaseCache

from storage.cache import leases
from storage.cache.data_version import DataVersion
from storage.cache.leases import LEASE_SECONDS, Cell


class MemoryCells:
    """Cells in an in-memory cache of Django's."""

    patient = False  # a read by id takes SQLite less time than it takes to wake a thread

    def __init__(self, cache: BaseCache, data_version: DataVersion) -> None:
        self._cache = cache
        self._data_version = data_version
        self._lock = threading.Lock()
        self._known_version = ""
        self._own = uuid.uuid4().hex
        self._generation = 0

    def get(self, key: str) -> Cell:
        """Raises sqlite3.Error: a database that cannot be looked at cannot be read either."""
        with self._lock:
            self._forget_if_changed()
            return self._cell(key)

    def lease(self, key: str, token: bytes) -> bool:
        with self._lock:
            cell = leases.lease(self._cell(key), token)
            if cell != b"T" + token:
                return False
            self._set(key, cell)
            return True

    def fill(self, key: str, token: bytes, value: bytes | None, seconds: float) -> bool:
        with self._lock:
            before = self._cell(key)
            after = leases.fill(before, token, value)
            if after == before:
                return False
            self._set(key, after, seconds)
            return True

    def begin(self, key: str, token: bytes, marked: Sequence[str]) -> bool:
        with self._lock:
            try:
                self._forget_if_changed()
                confirmed = True
            except Error:  # whether it can be written is for the write to tell
                confirmed = False
            self._set(key, leases.begin(self._cell(key), token))
            self._mark(marked)
            return confirmed

    def end(
        self, key: str, token: bytes, value: bytes | None, seconds: float, marked: Sequence[str]
    ) -> None:
        with self._lock:
            after = leases.end(self._cell(key), token, value)
            self._set(key, after, seconds if leases.value_of(after) is not None else LEASE_SECONDS)
            self._mark(marked)

    def mark(self, keys: Sequence[str]) -> None:
        with self._lock:
            self._mark(keys)

    def drop(self, key: str) -> None:
        with self._lock:
            self._set(key, leases.drop(self._cell(key)))

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
            self._known_version = version
            self._generation += 1

    def _mark(self, keys: Sequence[str]) -> None:
        for key in keys:
            self._set(key, leases.mark(None))

    def _cell(self, key: str) -> Cell:
        found: Cell = self._cache.get(self._key(key))
        return found

    def _set(self, key: str, cell: Cell, seconds: float = LEASE_SECONDS) -> None:
        if cell is None:
            self._cache.delete(self._key(key))
        else:
            self._cache.set(self._key(key), cell, seconds)

    def _key(self, key: str) -> str:
        """Cells that are forgotten are never looked up again, and expire."""
        return f"{key}:{self._own}:{self._generation}"
