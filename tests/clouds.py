"""CloudStorage on the servers that the tests start."""

import itertools
import math
import os
from typing import Any

import pytest
from django.utils.module_loading import import_string

from storage.archive.archive import configured_archive
from storage.cache.redis import redis_cache
from storage.dynamodb import table
from storage.dynamodb.client import Client
from storage.startup.selection import cloud_storage

REGION = "eu-central-1"
CONNECTIONS = 6
PATIENT: dict[str, Any] = {"socket_timeout": 60, "socket_connect_timeout": 60}
"""For a cache that is to be in use although the machine is busy; 0.1 s may be too short then."""

REDIS = [
    "valkey_server",
    "valkey_cluster",
    *(
        pytest.param(name, marks=pytest.mark.exhaustive)
        for name in ("redis_7", "redis_8", "redis_8_cluster")
    ),
]
"""The fixtures that are a server or a cluster, as parameters."""

_numbers = itertools.count()


def redis_url(server: Any, database: int) -> str:
    """The URL of one of these; a cluster has one database."""
    return getattr(server, "url", None) or f"redis://127.0.0.1:{server.port}/{database}"


def make_cache(url: str, **changes: Any) -> Any:
    """A cache as the settings would make it, and as Django would from them."""
    parameters = redis_cache(url, max_connections=CONNECTIONS)
    parameters["OPTIONS"]["CONNECTION_POOL_KWARGS"] |= changes
    backend = import_string(parameters.pop("BACKEND"))
    return backend(parameters.pop("LOCATION"), parameters)


def make_storage(model: Any, cache: Any, archive: Any = None) -> Any:
    """A storage with a table of its own; the connection is shared, since it takes long to make."""
    client = Client(model, CONNECTIONS)
    client.table = f"test-{os.getpid()}-{next(_numbers)}"  # programs share a server
    create_table(client)
    cache.clear()
    return storage_of(client, cache, archive)


def create_table(client: Any) -> None:
    """As `dynamodb_table create` begins, past botocore: many tests have a table of their own."""
    connection = client._connection.client
    connection._call("CreateTable", {"TableName": client.table, **table.definition()})


def storage_of(client: Any, cache: Any, archive: Any = None) -> Any:
    """A storage in the table of a client."""
    storage = cloud_storage(client, cache, archive or configured_archive())
    # As in most calls, the process knows how many shards there are: tests count calls.
    database: Any = storage.database
    database.shards._known_since = math.inf
    return storage
