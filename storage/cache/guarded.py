"""Asks a cache server that may be down, hang or hold unreadable data, without raising."""

import logging
import threading
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
from storage.cache.cluster import ClusterConnectionFactory
from storage.cache.keys import string_key

logger = logging.getLogger(__name__)

T = TypeVar("T")

AWAY = (RedisError, RedisClusterException, OSError)
"""The server did not answer. RedisClusterException is not a RedisError."""

CANNOT_SERVE = (ClusterError, ReadOnlyError)
"""The server answered but cannot serve: it has lost its slots, or became a replica."""

REFUSES_WRITES = ("NOREPLICAS", "MISCONF")
"""Codes of errors with which a server refuses all writes."""

REFUSED = (ResponseError, ValueError, RecursionError)
"""The server answered, but refused the command, or its answer cannot be read."""

PARTS = 16
"""Parts of a cluster's slots, with a guard each. So a node that is down blocks only its parts."""

GROUPS = 256
"""Groups of keys, with a generation each. The keys of a group are in one part of a cluster."""


class Guard:
    """Asks one cache server, or one part of a cluster's slots, through a circuit breaker.

    While the circuit is open, no call waits for the server. A thread probes it.
    """

    def __init__(self, probe: Callable[[], object]) -> None:
        self._breaker = CircuitBreaker(longest=1.0)
        self._probe = probe
        self._probing = threading.Lock()
        """Held by a thread that probes, or will soon: a second one would close the circuit, too."""
        self.back_since = 0.0
        """When the circuit last closed again (`time.monotonic`)."""

    @property
    def is_open(self) -> bool:
        """Whether the circuit is open: the server is only probed."""
        return self._breaker.is_open

    def ask(self, ask: Callable[[], T], otherwise: T) -> T:
        """Returns what `ask` returns, or `otherwise` if the server or its data is of no use."""
        if self._breaker.is_open:
            self._start_probing()
            return otherwise
        try:
            answer = ask()
        except (*AWAY, *REFUSED) as error:
            if not _can_serve(error):
                self._failed(error)
                return otherwise
            logger.warning("The cache refused, or cannot be read: %s", type(error).__name__)
            answer = otherwise
        if not self._breaker.is_open:  # only the probe closes it
            self._breaker.succeeded()
        return answer

    def _failed(self, error: Exception) -> None:
        logger.warning("The cache did not answer: %s", type(error).__name__)
        if self._breaker.failed():
            metrics.BREAKERS_OPEN.inc()
            self._start_probing()

    def _start_probing(self) -> None:
        if self._probing.acquire(blocking=False) and not background.repeat(
            self._is_still_away, PAUSE
        ):
            self._probing.release()

    def _is_still_away(self) -> bool:
        if not self._breaker.admits():
            return True
        try:
            self._probe()
        except (*AWAY, *REFUSED) as error:
            if not _can_serve(error):
                self._breaker.failed()
                return True
        self.back_since = time.monotonic()
        self._breaker.succeeded()
        metrics.BREAKERS_OPEN.dec()
        logger.warning("The cache answers again.")
        self._probing.release()
        return False


def _can_serve(error: Exception) -> bool:
    """Whether the server is up and can serve, although a command failed with this error."""
    if isinstance(error, CANNOT_SERVE) or any(word in str(error) for word in REFUSES_WRITES):
        return False
    return isinstance(error, REFUSED)


class Guards:
    """The guard of a server, or those of a cluster's parts."""

    def __init__(self, cache: BaseCache) -> None:
        client = getattr(cache, "client", None)
        factory = getattr(client, "connection_factory", None)
        is_cluster = isinstance(factory, ClusterConnectionFactory)
        self._guards: list[Guard] = []
        for part in range(PARTS if is_cluster else 1):
            key = next(key for key in _PROBES if not is_cluster or _part(key) == part)
            # A write, since a server that can only be read is of no use.
            self._guards.append(Guard(lambda key=key: cache.set(key, "", 1)))  # type: ignore[misc]

    @property
    def are_open(self) -> bool:
        """Whether the server, or a part of the cluster, is not asked at present."""
        return any(guard.is_open for guard in self._guards)

    def of(self, key: str) -> Guard:
        """The guard of one key."""
        if len(self._guards) == 1:
            return self._guards[0]
        return self._guards[_part(key)]

    def group_of(self, key: str) -> str:
        """The group of a key that is invalidated with it: two hexadecimal digits."""
        if len(self._guards) == 1:
            return key[-2:]  # the end of a hash
        return f"{key_slot(key.encode()) * GROUPS // REDIS_CLUSTER_HASH_SLOTS:02x}"


def _part(key: str) -> int:
    """The part of a cluster's slots to which a key belongs."""
    return key_slot(key.encode()) * PARTS // REDIS_CLUSTER_HASH_SLOTS


_PROBES = [string_key(f"probe {number}") for number in range(500)]
"""Enough keys that each part has at least one."""


class GuardedCache:
    """Strings in a cache server. While it does not answer, nothing is found and nothing is kept."""

    def __init__(self, cache: BaseCache, guards: Guards) -> None:
        self._cache = cache
        self.guards = guards

    def get(self, key: str) -> str | None:
        """Returns the string under `key`, or None if there is none or it is no string."""
        place = string_key(key)
        value = self.guards.of(place).ask(lambda: self._cache.get(place), None)
        return value if isinstance(value, str) else None

    def set(self, key: str, value: str, ttl: int) -> None:
        """Keep `value` for `ttl` seconds."""
        place = string_key(key)
        self.guards.of(place).ask(lambda: self._cache.set(place, value, ttl), None)
