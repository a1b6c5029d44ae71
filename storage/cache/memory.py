"""Django's in-memory cache, for values that cannot change and keys that hold any user id."""

from collections import OrderedDict
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from django.core.cache.backends.base import DEFAULT_TIMEOUT
from django.core.cache.backends.locmem import LocMemCache


class MemoryCache(LocMemCache):
    """Keeps values as they are: use strings, bytes, numbers, and tuples of these.

    Django would pickle them, since a list could be changed while it is cached. That costs as much
    as SQLite's answer. It would also warn of keys that memcached, which is not used, refuses.
    """

    _cache: OrderedDict[str, Any]
    _lock: AbstractContextManager[Any]
    _has_expired: Callable[[str], bool]
    _cull: Callable[[], None]
    _expire_info: dict[str, float | None]
    _max_entries: int
    _set: Callable[[str, Any, Any], None]
    _delete: Callable[[str], bool]

    def get(self, key: Any, default: Any = None, version: int | None = None) -> Any:
        """Returns the value, or `default` if there is none or it has expired."""
        if key not in self._cache:  # Django would raise and catch an error for each
            return default
        with self._lock:
            if self._has_expired(key):
                self._delete(key)
                return default
            self._cache.move_to_end(key, last=False)
            return self._cache[key]

    def set(
        self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None
    ) -> None:
        """Keep a value for `timeout` seconds."""
        expires = self.get_backend_timeout(timeout)
        with self._lock:
            if len(self._cache) >= self._max_entries:
                self._cull()
            self._cache[key] = value
            self._cache.move_to_end(key, last=False)
            self._expire_info[key] = expires

    def add(
        self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None
    ) -> bool:
        """Keep a value, unless there is one already. Returns whether it was kept."""
        key = self.make_and_validate_key(key, version)
        with self._lock:
            is_new = self._has_expired(key)
            if is_new:
                self._set(key, value, timeout)
        return is_new

    def incr(self, key: Any, delta: int = 1, version: int | None = None) -> int:
        """Add to a number, and return it. Raises ValueError if there is none."""
        key = self.make_and_validate_key(key, version)
        with self._lock:
            if self._has_expired(key):
                raise ValueError(f"Key {key!r} not found")
            self._cache[key] += delta
            self._cache.move_to_end(key, last=False)
            return int(self._cache[key])

    def make_and_validate_key(self, key: str, version: int | None = None) -> str:
        """Returns the key: there is no other version, and no other application in this memory."""
        return key
