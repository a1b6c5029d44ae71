"""The cache that all servers share: Redis, or none."""

from django.conf import settings
from django.core.cache.backends.base import BaseCache

from storage.cache.guarded import GuardedCache, Guards
from storage.cache.interactions import LeasedCache
from storage.cache.reliable_cells import cells_of


def shared_cache(cache: BaseCache) -> LeasedCache:
    """The interactions and strings in a cache of django-redis; in any other nothing is cached."""
    guards = Guards(cache)
    return LeasedCache(
        cells_of(cache, guards), settings.CACHE_TTL, GuardedCache(cache, guards), cache
    )
