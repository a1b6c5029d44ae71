"""A cache server that may be away, hang or hold anything: nothing of that reaches a caller."""

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from django.core.cache.backends.base import BaseCache
from redis.exceptions import (
    ClusterError,
    ReadOnlyError,
    RedisClusterException,
    RedisError,
    ResponseError,
)

from storage.breaker import CircuitBreaker
from storage.cache import metrics
from storage.cache.keys import string_key

logger = logging.getLogger(__name__)

T = TypeVar("T")

# RedisClusterException is no RedisError, and django-redis lets it through.
AWAY = (RedisError, RedisClusterException, OSError)
# It answers, and yet is no server to ask: without its slots, or a replica by now.
UNFIT = (ClusterError, ReadOnlyError)
# It refused, or what it holds cannot be read: the server is there all the same.
REFUSED = (ResponseError, ValueError, RecursionError)


class Guard:
    """Asks one cache server, through a circuit breaker."""

    def __init__(self) -> None:
        self._breaker = CircuitBreaker(longest=1.0)
        self.back_since = 0.0
        """When the server last came back after the breaker had given it up (`time.monotonic`)."""

    def ask(self, ask: Callable[[], T], otherwise: T) -> T:
        """What `ask` gives; `otherwise` if the server is away or what it holds is unreadable."""
        if not self._breaker.admits():
            return otherwise
        try:
            answer = ask()
        except (*AWAY, *REFUSED) as error:
            if isinstance(error, UNFIT) or not isinstance(error, REFUSED):
                return self._failed(error, otherwise)
            logger.warning("The cache refused, or cannot be read: %s", type(error).__name__)
            answer = otherwise
        if self._breaker.succeeded():
            self.back_since = time.monotonic()
            metrics.BREAKER_OPEN.set(0)
        return answer

    def _failed(self, error: Exception, otherwise: T) -> T:
        if self._breaker.failed():
            metrics.BREAKER_OPEN.set(1)
        logger.warning("The cache did not answer: %s", type(error).__name__)
        return otherwise


class GuardedCache:
    """Strings in a cache server. When it does not answer, all is a miss and nothing is kept."""

    def __init__(self, cache: BaseCache, guard: Guard) -> None:
        self._cache = cache
        self._guard = guard

    def get(self, key: str) -> str | None:
        """The string under `key`; None if there is none, or nothing that is one."""
        value = self._guard.ask(lambda: self._cache.get(string_key(key)), None)
        return value if isinstance(value, str) else None

    def set(self, key: str, value: str, ttl: int) -> None:
        """Keep `value` for `ttl` seconds."""
        self._guard.ask(lambda: self._cache.set(string_key(key), value, ttl), None)
