"""A cache server that may be away, hang or hold anything: nothing of that reaches a caller."""

import logging
from collections.abc import Callable
from typing import TypeVar

from django.core.cache.backends.base import BaseCache
from redis.exceptions import RedisClusterException, RedisError

from storage.breaker import CircuitBreaker

logger = logging.getLogger(__name__)

T = TypeVar("T")

# RedisClusterException is no RedisError, and django-redis lets it through.
AWAY = (RedisError, RedisClusterException, OSError)
UNREADABLE = (ValueError, RecursionError, TypeError)


class Guard:
    """Asks one cache server, through a circuit breaker."""

    def __init__(self) -> None:
        self._breaker = CircuitBreaker(longest=1.0)

    def ask(self, ask: Callable[[], T], otherwise: T) -> T:
        """What `ask` gives; `otherwise` if the server is away or what it holds is unreadable."""
        if not self._breaker.admits():
            return otherwise
        try:
            answer = ask()
        except AWAY as error:
            self._breaker.failed()
            logger.warning("The cache did not answer: %s", type(error).__name__)
            return otherwise
        except UNREADABLE as error:
            logger.warning("What the cache holds cannot be read: %s", type(error).__name__)
            answer = otherwise
        self._breaker.succeeded()
        return answer


class GuardedCache:
    """Strings in a cache server. When it does not answer, all is a miss and nothing is kept."""

    def __init__(self, cache: BaseCache, guard: Guard) -> None:
        self._cache = cache
        self._guard = guard

    def get(self, key: str) -> str | None:
        """The string under `key`; None if there is none, or nothing that is one."""
        value = self._guard.ask(lambda: self._cache.get(key), None)
        return value if isinstance(value, str) else None

    def set(self, key: str, value: str, ttl: int) -> None:
        """Keep `value` for `ttl` seconds."""
        self._guard.ask(lambda: self._cache.set(key, value, ttl), None)
