"""The cache that all servers share: Redis, or none."""

from django.conf import settings
from django.core.cache.backends.base import BaseCache
from django_redis.cache import RedisCache

from storage.cache.base import Cache
from storage.cache.generations import Generations, Store
from storage.cache.guarded import GuardedCache, Guards
from storage.cache.leased import LeasedCache
from storage.cache.no_cache import NoCache
from storage.cache.redis_cells import RedisCells
from storage.cache.reliable_cells import ReliableCells


def shared_cache(cache: BaseCache, store: Store) -> Cache:
    """The cache of interactions and strings in Redis, or NoCache if `cache` is not django-redis.

    `store` keeps what Redis cannot be told.
    """
    if not isinstance(cache, RedisCache):
        return NoCache()
    guards = Guards(cache)
    cells = ReliableCells(RedisCells(cache), guards, Generations(store))
    return LeasedCache(cells, settings.CACHE_TTL, GuardedCache(cache, guards), cache)
