"""System checks for production: DynamoDB, Redis, and settings that must fit together.

Every command runs the checks that need only the settings. The checks that ask servers run with
`manage.py check --deploy` only. Outside production all of them find nothing.
"""

import functools
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core import checks

from storage.startup.selection import is_production

if TYPE_CHECKING:
    from redis import Redis

    from storage.cache.inspection import Setup

Messages = list[checks.CheckMessage]

CACHE_ONLY = 'Redis is a cache here and holds what users said: CONFIG SET save "", appendonly no.'


def in_production(check: Callable[..., Iterator[checks.CheckMessage]]) -> Callable[..., Messages]:
    """Turn a generator of messages into a system check that does nothing outside production."""

    @functools.wraps(check)
    def checked(**kwargs: Any) -> Messages:
        return list(check(**kwargs)) if is_production() else []

    return checked


@checks.register(checks.Tags.compatibility)
@in_production
def check_region(**kwargs: Any) -> Iterator[checks.CheckMessage]:
    """storage.E003: AWS_REGION does not name a region."""
    from storage.dynamodb.configured import REGION_REMEDY, region_problem

    if problem := region_problem():
        yield checks.Error(
            f"{problem} Production keeps interactions in DynamoDB.",
            hint=REGION_REMEDY,
            id="storage.E003",
        )


@checks.register(checks.Tags.compatibility)
@in_production
def check_threads(**kwargs: Any) -> Iterator[checks.CheckMessage]:
    """storage.W001: if DynamoDB hangs, no thread is left for anything else."""
    if settings.DYNAMODB_CONNECTIONS >= settings.THREADS:
        yield checks.Warning(
            f"DYNAMODB_CONNECTIONS={settings.DYNAMODB_CONNECTIONS} is not below "
            f"THREADS={settings.THREADS}: if DynamoDB hangs, it blocks every thread.",
            hint="Set THREADS to 2 more than DYNAMODB_CONNECTIONS, or lower that.",
            id="storage.W001",
        )


@checks.register(checks.Tags.compatibility, deploy=True)
@in_production
def check_table(**kwargs: Any) -> Iterator[checks.CheckMessage]:
    """storage.E004: the table differs from what it must be. E005: it cannot be read."""
    from botocore.exceptions import BotoCoreError

    from storage.dynamodb import table
    from storage.dynamodb.advice import advice
    from storage.dynamodb.configured import configured_client, region_problem
    from storage.exceptions import StorageError

    if region_problem():
        return  # storage.E003 reports it
    try:
        differences = table.differences(configured_client())
    except (StorageError, BotoCoreError) as error:
        yield checks.Error(
            "The DynamoDB table cannot be compared with what it must be: "
            f"{advice(error) if isinstance(error, StorageError) else error}",
            hint="Run this with the operator's credentials: docs/how-to/production.md.",
            id="storage.E005",
        )
        return
    for difference in differences:
        yield checks.Error(
            f"DynamoDB table {settings.DYNAMODB_TABLE}: {difference}",
            hint="Run manage.py dynamodb_table create, or change your own template.",
            id="storage.E004",
        )


@checks.register(checks.Tags.caches, deploy=True)
@in_production
def check_redis(**kwargs: Any) -> Iterator[checks.CheckMessage]:
    """storage.E006 to E008, E011, W002 to W004 and I001: the set-up of every Redis server."""
    if "django_redis" not in settings.CACHES["default"]["BACKEND"]:
        return
    from django_redis import get_redis_connection
    from redis.cluster import RedisCluster
    from redis.exceptions import RedisClusterException, RedisError

    from storage.cache import inspection

    try:
        connection = get_redis_connection("default")
        servers = list(inspection.servers(connection))
    except (RedisError, RedisClusterException, OSError) as error:
        yield _away("of REDIS_URL", error)
        return
    for server in servers:
        yield from _of_server(server)
    if not isinstance(connection, RedisCluster):
        yield from _of_kind(connection)


REDIS_ERRORS = ("storage.E006", "storage.E007", "storage.E008", "storage.E011")
"""What `check_redis` calls errors: with them a server must not start."""


def redis_errors() -> list[checks.CheckMessage] | None:
    """The errors of `check_redis`. None if there is no Redis here, or a server does not answer."""
    if not is_production() or "django_redis" not in settings.CACHES["default"]["BACKEND"]:
        return None
    found = check_redis()
    if any(message.id == "storage.W002" for message in found):
        return None
    return [message for message in found if message.id in REDIS_ERRORS]


def _of_kind(server: "Redis") -> Iterator[checks.CheckMessage]:
    """A node of a cluster answers a client for a single server, but refuses most keys (MOVED)."""
    from redis.exceptions import RedisError

    from storage.cache import inspection

    try:
        is_node = server.info("cluster").get("cluster_enabled")
    except (RedisError, OSError):
        return  # W002 or W003 reports it
    if is_node:
        yield checks.Error(
            f"The Redis server {inspection.name(server)} is a node of a Redis Cluster, and "
            "REDIS_URL is for a single server: keys of other nodes are not cached.",
            hint="Start REDIS_URL with redis+cluster:// or rediss+cluster://. REDIS_CLUSTER is no "
            "longer read.",
            id="storage.E011",
        )


def _of_server(server: "Redis") -> Iterator[checks.CheckMessage]:
    from redis.exceptions import RedisError, ResponseError

    from storage.cache import inspection

    name = inspection.name(server)
    try:
        setup = inspection.setup(server)
    except ResponseError as error:
        yield checks.Warning(
            f"The Redis server {name} does not show its set-up: {type(error).__name__}.",
            hint="Allow its user +info. Or check yourself that it has maxmemory, a policy other "
            "than noeviction, and no persistence.",
            id="storage.W003",
        )
    except (RedisError, OSError) as error:
        yield _away(name, error)
    else:
        yield from _of_setup(name, setup)


def _away(name: str, error: Exception) -> checks.Warning:
    return checks.Warning(
        f"The Redis server {name} does not answer: {type(error).__name__}.",
        hint="Check REDIS_URL, its user and password, TLS and the network. To run the service "
        "without Redis, leave REDIS_URL empty.",
        id="storage.W002",
    )


def _of_setup(name: str, setup: "Setup") -> Iterator[checks.CheckMessage]:
    if not setup.maxmemory:
        yield checks.Error(
            f"The Redis server {name} has no maxmemory: it can use up the memory of the machine.",
            hint="Set it, such as CONFIG SET maxmemory 512mb, and in its configuration file.",
            id="storage.E006",
        )
    if setup.policy == "noeviction":
        yield checks.Error(
            f"The Redis server {name} has the policy noeviction: once full, it stores nothing new.",
            hint="CONFIG SET maxmemory-policy allkeys-lru, and in its configuration file.",
            id="storage.E007",
        )
    if setup.append_only or setup.save_points:
        yield checks.Error(
            f"The Redis server {name} writes what it holds to disk.",
            hint=CACHE_ONLY,
            id="storage.E008",
        )
    if setup.save_points is None:
        yield from _of_snapshots(name, setup.snapshots)


def _of_snapshots(name: str, snapshots: int) -> Iterator[checks.CheckMessage]:
    if snapshots:
        yield checks.Warning(
            f"The Redis server {name} has written {snapshots} snapshots since it started.",
            hint="It hides whether it has save points. Turn its backups off; snapshots for "
            "replicas are fine.",
            id="storage.W004",
        )
    else:
        yield checks.Info(
            f"The Redis server {name} hides its configuration, and INFO does not show save points.",
            hint="Check in its console that backups are off. No snapshot was written yet.",
            id="storage.I001",
        )
