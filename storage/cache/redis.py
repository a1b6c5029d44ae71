"""The settings of django-redis here: short timeouts, explicit retry, JSON, plain keys."""

import re
from typing import Any

import redis.connection
from django.core.exceptions import ImproperlyConfigured
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

TIMEOUT = 0.1
"""Seconds to connect, to wait for an answer, and to wait for a free connection."""

RETRIES = 1
"""Further attempts, after 10 to 50 ms with jitter. So no request fails when a server restarts.

Only one, because a health check makes as many attempts, and a new connection to a server that
hangs waits for all of them: 0.4 s with one retry, 1 s with two.
"""

HEALTH_CHECK_INTERVAL = 30
"""Seconds after which an idle connection is checked with PING before it is used."""


def redis_cache(url: str, *, max_connections: int) -> dict[str, Any]:
    """The entry of CACHES for a Redis server or, with `+cluster` in the URL, for Redis Cluster.

    Raises ImproperlyConfigured for an option in the URL that cannot be used.
    """
    plain_url, is_cluster = re.subn(r"^(rediss?)\+cluster:", r"\1:", url)
    _check_options(plain_url, is_cluster=bool(is_cluster))
    connection: dict[str, Any] = {
        # Set on the pool, since a pool that django-redis makes loses the default of redis-py.
        "retry": Retry(ExponentialWithJitterBackoff(base=0.01, cap=0.05), RETRIES),
        "retry_on_error": [RedisConnectionError, RedisTimeoutError],
        "health_check_interval": HEALTH_CHECK_INTERVAL,
        "max_connections": max_connections,
        # RESP3, which redis-py asks for by HELLO, is refused by servers before 6.0 and some
        # proxies, and nothing here needs it. But by TLS 1.3 a server sends session tickets at
        # once, and redis-py 8.1.0 takes them for an answer that nobody has read, and the
        # connection for one that is not ready. The answer to HELLO is read behind them.
        "protocol": 3 if plain_url.startswith("rediss:") else 2,
        "driver_info": None,  # CLIENT SETINFO: two round trips, and Redis 7.0 does not know it
    }
    options: dict[str, Any] = {
        "SERIALIZER": "django_redis.serializers.json.JSONSerializer",  # pickle would run code
        "SOCKET_TIMEOUT": TIMEOUT,
        "SOCKET_CONNECT_TIMEOUT": TIMEOUT,
        "CONNECTION_POOL_KWARGS": connection,
    }
    if is_cluster:
        options["CONNECTION_FACTORY"] = "storage.cache.cluster.ClusterConnectionFactory"
    else:
        options["CONNECTION_POOL_CLASS"] = "redis.BlockingConnectionPool"
        connection["timeout"] = TIMEOUT
    return {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": plain_url,
        "KEY_FUNCTION": "storage.cache.keys.as_given",
        "OPTIONS": options,
    }


def _check_options(url: str, *, is_cluster: bool) -> None:
    """redis-py finds most mistakes when it first connects. A cluster ignores what it does not know.

    What it says names options, and no user or password.
    """
    if "?" not in url:
        return
    library: Any = redis.connection  # it leaves these functions without types
    try:
        if is_cluster:
            library.parse_url(url)
        else:
            library.BlockingConnectionPool.from_url(url).make_connection()  # not to a server yet
    except (TypeError, ValueError, RedisError) as error:
        raise ImproperlyConfigured(
            f"REDIS_URL has an option that cannot be used: {error}"
        ) from None
