"""The application's strings in the memory of one process."""

from django.core.cache.backends.base import BaseCache

from storage.cache.keys import string_key
from storage.cache.memory_cells import MemoryCells


class MemoryStrings:
    """Strings beside `cells`, which know of erasures by other processes."""

    def __init__(self, cache: BaseCache, cells: MemoryCells) -> None:
        self._cache = cache
        self._cells = cells

    def get(self, key: str) -> str | None:
        """The string under `key`; None if there is none, or if an erasure may have taken it."""
        if not self._cells.look():
            return None
        value: str | None = self._cache.get(string_key(key))
        return value

    def set(self, key: str, value: str, ttl: int) -> None:
        """Keep `value` for `ttl` seconds."""
        self._cells.look()  # else what is kept now might go with an erasure of before
        self._cache.set(string_key(key), value, ttl)
