"""How a Redis server is set up: whether it bounds its memory and keeps nothing on disk."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from redis import Redis
from redis.cluster import RedisCluster
from redis.exceptions import ResponseError


@dataclass(frozen=True)
class Setup:
    """What a server says of itself."""

    maxmemory: int
    """Bytes; 0 is without limit."""
    policy: str
    """What it does when they are used up; `noeviction` refuses writes then."""
    append_only: bool
    """Whether each write goes to a file."""
    save_points: str | None
    """When it writes a snapshot; empty is never. None if it hides that, as INFO does."""
    snapshots: int
    """How many it has written since it started; replication and backups write them too."""


def servers(connection: Any) -> Iterator[Redis]:
    """The servers behind a connection of django-redis: one, or the primaries of a cluster."""
    if isinstance(connection, RedisCluster):
        cluster: Any = connection  # redis-py leaves its methods without types
        for node in cluster.get_primaries():
            yield cluster.get_redis_connection(node)
    else:
        yield connection


def name(server: Redis) -> str:
    """Its host and port, without the password of the URL."""
    known = server.connection_pool.connection_kwargs
    return f"{known.get('host', 'localhost')}:{known.get('port', 6379)}"


def setup(server: Redis) -> Setup:
    """Ask a server. Raises RedisError if it does not answer, or allows neither CONFIG nor INFO."""
    try:
        return _from_config(server)
    except (ResponseError, KeyError):  # a managed service hides CONFIG, and an ACL may forbid it
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
