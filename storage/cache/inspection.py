"""The configuration of a Redis server: its memory limit, and whether it writes to disk."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from redis import Redis
from redis.cluster import RedisCluster
from redis.exceptions import ResponseError


@dataclass(frozen=True)
class Setup:
    """The configuration that a server reports."""

    maxmemory: int
    """The memory limit in bytes. 0 is no limit."""
    policy: str
    """What the server does at that limit. `noeviction` refuses writes."""
    append_only: bool
    """Whether it appends each write to a file."""
    save_points: str | None
    """When it writes snapshots. Empty is never; None is unknown, as INFO does not say."""
    snapshots: int
    """Snapshots since it started. Replication and backups write some, too."""


def servers(connection: Any) -> Iterator[Redis]:
    """The servers of a django-redis connection: one, or the primaries of a cluster."""
    if isinstance(connection, RedisCluster):
        cluster: Any = connection  # redis-py leaves its methods without types
        for node in cluster.get_primaries():
            yield cluster.get_redis_connection(node)
    else:
        yield connection


def name(server: Redis) -> str:
    """The host and port of a server, without the password in its URL."""
    known = server.connection_pool.connection_kwargs
    return f"{known.get('host', 'localhost')}:{known.get('port', 6379)}"


def setup(server: Redis) -> Setup:
    """Ask a server. Raises RedisError if it does not answer or refuses both CONFIG and INFO."""
    try:
        return _from_config(server)
    except (ResponseError, KeyError):  # a managed service lacks CONFIG, or an ACL forbids it
        return _from_info(server)


def _from_config(server: Redis) -> Setup:
    def value(parameter: str) -> str:
        found = server.config_get(parameter)
        return str(found[parameter])

    return Setup(
        maxmemory=int(value("maxmemory")),
        policy=value("maxmemory-policy"),
        append_only=value("appendonly") == "yes",
        save_points=value("save"),
        snapshots=0,
    )


def _from_info(server: Redis) -> Setup:
    memory: Any = server.info("memory")
    persistence: Any = server.info("persistence")
    return Setup(
        maxmemory=int(memory["maxmemory"]),
        policy=str(memory["maxmemory_policy"]),
        append_only=bool(persistence["aof_enabled"]),
        save_points=None,
        snapshots=int(persistence.get("rdb_saves", 0)),
    )
