"""A cache server that may be away, hang or hold anything: nothing of that reaches a caller."""

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from django.core.cache.backends.base import BaseCache
from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot
from redis.exceptions import (
    ClusterError,
    ReadOnlyError,
    RedisClusterException,
    RedisError,
    ResponseError,
)

from storage.cache import background, metrics
from storage.cache.breaker import PAUSE, CircuitBreaker
from storage.cache.cluster import ClusterClient
from storage.cache.keys import string_key

logger = logging.getLogger(__name__)

T = TypeVar("T")

# RedisClusterException is no RedisError, and django-redis lets it through.
AWAY = (RedisError, RedisClusterException, OSError)
# It answers, and yet is no server to ask: without its slots, or a replica by now.
UNFIT = (ClusterError, ReadOnlyError)
REFUSES_WRITES = ("NOREPLICAS", "MISCONF")
# It refused, or what it holds cannot be read: the server is there all the same.
REFUSED = (ResponseError, ValueError, RecursionError)

PARTS = 16
"""Of a cluster's slots, each with a guard of its own: a node that is away costs no others."""


class Guard:
    """Asks one cache server, or one part of a cluster's slots, through a circuit breaker.

    While the circuit is open nobody waits for the server: a thread probes it.
    """

    def __init__(self, probe: Callable[[], object]) -> None:
        self._breaker = CircuitBreaker(longest=1.0)
        self._probe = probe
        self._is_probed = False
        self.back_since = 0.0
        """When the server last came back after it had been given up (`time.monotonic`)."""

    def ask(self, ask: Callable[[], T], otherwise: T) -> T:
        """What `ask` gives; `otherwise` if the server is away or what it holds is unreadable."""
        if self._breaker.is_open:
            self._see_to_probing()
            return otherwise
        try:
            answer = ask()
        except (*AWAY, *REFUSED) as error:
            if not _is_there(error):
                self._failed(error)
                return otherwise
            logger.warning("The cache refused, or cannot be read: %s", type(error).__name__)
            answer = otherwise
        if not self._breaker.is_open:  # closing it is for the probe
            self._breaker.succeeded()
        return answer

    def _failed(self, error: Exception) -> None:
        logger.warning("The cache did not answer: %s", type(error).__name__)
        if self._breaker.failed():
            metrics.BREAKERS_OPEN.inc()
            self._see_to_probing()

    def _see_to_probing(self) -> None:
        if not self._is_probed:
            self._is_probed = True
            self._is_probed = background.repeat(self._is_still_away, PAUSE)

    def _is_still_away(self) -> bool:
        if not self._breaker.admits():
            return True
        try:
            self._probe()
        except (*AWAY, *REFUSED) as error:
            if not _is_there(error):
                self._breaker.failed()
                return True
        self.back_since = time.monotonic()
        self._is_probed = False
        self._breaker.succeeded()
        metrics.BREAKERS_OPEN.dec()
        logger.warning("The cache answers again.")
        return False


def _is_there(error: Exception) -> bool:
    if isinstance(error, UNFIT) or any(word in str(error) for word in REFUSES_WRITES):
        return False
    return isinstance(error, REFUSED)


class Guards:
    """The guards of a server, or of a cluster."""

    def __init__(self, cache: BaseCache) -> None:
        is_cluster = isinstance(getattr(cache, "client", None), ClusterClient)
        self._guards: list[Guard] = []
        for part in range(PARTS if is_cluster else 1):
            key = next(key for key in _PROBES if not is_cluster or _part(key) == part)
            # A write: one that only reads is of no use.
            self._guards.append(Guard(lambda key=key: cache.set(key, "", 1)))  # type: ignore[misc]

    def of(self, key: str) -> Guard:
        """The guard of one key."""
        if len(self._guards) == 1:
            return self._guards[0]
        return self._guards[_part(key)]


def _part(key: str) -> int:
    """The part of a cluster's slots that a key is in."""
    return key_slot(key.encode()) * PARTS // REDIS_CLUSTER_HASH_SLOTS


_PROBES = [string_key(f"probe {number}") for number in range(500)]
"""Some in each part."""


class GuardedCache:
    """Strings in a cache server. When it does not answer, all is a miss and nothing is kept."""

    def __init__(self, cache: BaseCache, guards: Guards) -> None:
        self._cache = cache
        self._guards = guards

    def get(self, key: str) -> str | None:
        """The string under `key`; None if there is none, or nothing that is one."""
        place = string_key(key)
        value = self._guards.of(place).ask(lambda: self._cache.get(place), None)
        return value if isinstance(value, str) else None

    def set(self, key: str, value: str, ttl: int) -> None:
        """Keep `value` for `ttl` seconds."""
        place = string_key(key)
        self._guards.of(place).ask(lambda: self._cache.set(place, value, ttl), None)
