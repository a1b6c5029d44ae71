"""Django's in-memory cache, for keys that hold any user id."""

from django.core.cache.backends.locmem import LocMemCache


class MemoryCache(LocMemCache):
    """Accepts every key. Django would warn of keys that memcached, which is not used, refuses."""

    def validate_key(self, key: str) -> None:
        """Accept the key."""
