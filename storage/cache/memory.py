"""Django's in-memory cache, for keys that hold any user id."""

from django.core.cache.backends.locmem import LocMemCache


class MemoryCache(LocMemCache):
    """Takes every key: memcached's limits, which Django checks for all caches, are not memory's."""

    def validate_key(self, key: str) -> None:
        """Nothing to warn of."""
