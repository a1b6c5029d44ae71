"""CloudStorage (DynamoDB, Redis) keeps the contract, on each kind of server."""

from typing import Any

import boto3
import fakeredis
import fakeredis._socket._base as fakeredis_clock
import moto
import pytest

from storage.cache import guarded
from storage.dynamodb import frames, items, mirror, texts, transport
from tests import servers
from tests.clouds import CONNECTIONS, PATIENT, REGION, make_cache, make_storage, redis_url
from tests.contract import moto_gaps
from tests.contract.batches import BatchesContract
from tests.contract.contract import StorageContract
from tests.contract.round_trips import RoundTripsContract
from tests.contract.sequences import SequencesContract

FAKEREDIS: dict[str, Any] = {
    "connection_class": fakeredis.FakeRedisConnection,
    "health_check_interval": 0,  # it would ask whether the server is there before each command
}


class Cloud:
    """A subclass has the fixtures `model` and `cache`."""

    rows_in_one_call = 205  # DynamoDB takes 25, 50 or 100 in one request

    @pytest.fixture
    def storage(self, model, cache, patient, caplog):
        yield make_storage(model, cache)
        failed = [record.message for record in caplog.records if record.name == guarded.__name__]
        assert failed == [], "the cache was not really in use"


class CloudContract(Cloud, StorageContract):
    pass


class TestOnMotoAndFakeredis(CloudContract):
    test_reads_go_on_in_a_snapshot = None  # moto does not answer what reads a stream
    clock_of_cache = fakeredis_clock

    @pytest.fixture(scope="class")
    @classmethod
    def model(cls):
        with moto.mock_aws():
            yield mirror.bound("unused", REGION, "", CONNECTIONS)

    @pytest.fixture
    def cache(self, monkeypatch):
        moto_gaps.install(monkeypatch)
        return make_cache("redis://fakeredis/0", **FAKEREDIS)


@pytest.mark.exhaustive  # moto in this process keeps the same contract
class TestByBotocoreOnMotosServerAndFakeredis(CloudContract):
    """As where libcurl is missing, or a proxy is set."""

    test_reads_go_on_in_a_snapshot = None
    clock_of_cache = fakeredis_clock

    @pytest.fixture(scope="class")
    @classmethod
    def model(cls):
        server = servers.DYNAMODB["moto"]()
        patient = boto3.client("dynamodb", REGION, endpoint_url=server.url)
        patient.list_tables()  # its first answer takes long
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(transport, "OPERATIONS", frozenset())
            patched.setattr(mirror, "READ_SECONDS", 60)  # whatever a busy machine takes
            yield mirror.bound("unused", REGION, server.url, CONNECTIONS)
        server.stop()

    @pytest.fixture
    def cache(self):
        return make_cache("redis://fakeredis/0", **FAKEREDIS)


class OnMinistack(CloudContract):
    @pytest.fixture
    def model(self, dynamodb_model):
        return dynamodb_model


@pytest.mark.exhaustive  # the cluster has the same commands, and more that can go wrong
class TestOnMinistackAndOtherRedis(OnMinistack):
    @pytest.fixture(params=["valkey_server", "redis_7", "redis_8", "redis_8_cluster"])
    def cache(self, request):
        server = request.getfixturevalue(request.param)
        return make_cache(redis_url(server, 0), **PATIENT)


class TestOnMinistackAndValkeyCluster(OnMinistack):
    @pytest.fixture(autouse=True)
    def _always_compressed(self, monkeypatch):
        """Texts of this suite are short, and would nearly all be plain, as they are on moto."""

        def pack(message, response):
            return {
                texts.PACKED: {"B": texts.FORM + frames.compress(f"{message}\0{response}".encode())}
            }

        monkeypatch.setattr(items, "pack_texts", pack)

    @pytest.fixture
    def cache(self, valkey_cluster):
        return make_cache(valkey_cluster.url, **PATIENT)


class TestByBotocore(Cloud, BatchesContract, RoundTripsContract, SequencesContract):
    """These call every operation on items. The whole contract by botocore is in `make test-all`."""

    every_coroutine = False

    @pytest.fixture
    def model(self, dynamodb_server, monkeypatch):
        monkeypatch.setattr(transport, "OPERATIONS", frozenset())
        monkeypatch.setattr(mirror, "READ_SECONDS", 60)  # whatever a busy machine takes
        return mirror.bound("unused", REGION, dynamodb_server.url, CONNECTIONS)

    @pytest.fixture
    def cache(self, valkey_cluster):
        return make_cache(valkey_cluster.url, **PATIENT)
