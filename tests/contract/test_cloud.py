"""CloudStorage (DynamoDB, Redis) keeps the contract, on each kind of server."""

import itertools

import fakeredis
import moto
import pytest
from django.utils.module_loading import import_string

from storage.cache.redis import redis_cache
from storage.dynamodb import mirror, table
from storage.dynamodb.client import Client
from storage.dynamodb.storage import CloudStorage
from tests.contract import moto_statements
from tests.contract.contract import StorageContract

REGION = "eu-central-1"
CONNECTIONS = 6
numbers = itertools.count()


def make_cache(url, **changes):
    """A cache as the settings would make it, and as Django would from them."""
    parameters = redis_cache(url, cluster=False, max_connections=CONNECTIONS)
    parameters["OPTIONS"]["CONNECTION_POOL_KWARGS"] |= changes
    backend = import_string(parameters.pop("BACKEND"))
    return backend(parameters.pop("LOCATION"), parameters)


def make_storage(model, cache):
    """A storage with a table of its own; the connection is shared, since it takes long to make."""
    client = Client(model, CONNECTIONS)
    client.table = f"contract-{next(numbers)}"
    client.manage("CreateTable", TableName=client.table, **table.definition())
    cache.clear()
    return CloudStorage(client, cache, CONNECTIONS)


class CloudContract(StorageContract):
    """A subclass has the fixtures `model` and `cache`."""

    @pytest.fixture
    def storage(self, model, cache):
        return make_storage(model, cache)


class TestOnMotoAndFakeredis(CloudContract):
    @pytest.fixture(scope="class")
    @classmethod
    def model(cls):
        with moto.mock_aws():
            yield mirror.bound("unused", REGION, "", CONNECTIONS)

    @pytest.fixture
    def cache(self, monkeypatch):
        moto_statements.install(monkeypatch)
        return make_cache("redis://fakeredis/0", connection_class=fakeredis.FakeConnection)


class OnMinistack(CloudContract):
    @pytest.fixture(scope="class")
    @classmethod
    def model(cls, dynamodb_server):
        return mirror.bound("unused", REGION, dynamodb_server.url, CONNECTIONS)


class TestOnMinistackAndValkey(OnMinistack):
    @pytest.fixture
    def cache(self, valkey_server):
        return make_cache(f"redis://127.0.0.1:{valkey_server.port}/0")


class TestOnMinistackAndValkeyCluster(OnMinistack):
    @pytest.fixture
    def cache(self, valkey_cluster):
        return make_cache(valkey_cluster.url)
