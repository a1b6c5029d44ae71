"""Erasing a user while Redis, or a node of it, is away: refused, and repeated when it is back."""

import contextlib
import os
import signal

import pytest
import redis
from redis.cluster import RedisCluster

from storage.cache.keys import interaction_key
from storage.cache.leases import BUSY
from storage.cache.redis_cells import RedisCells
from storage.exceptions import CacheNotErased
from tests import clouds, servers
from tests.storage.cache.conftest import MARKER, traces


@pytest.fixture(scope="module", autouse=True)
def make_cluster():
    with servers.clusters(node_timeout=2000) as make:
        yield make


@pytest.fixture(params=["server", "node"])
def outage(request, make_cluster):
    """A server, or a cluster one of whose nodes fails: its URL, and how to `stop` and `go_on`."""
    if request.param == "server":
        started = servers.start_valkey()
        process, stop = started._process, started.terminate
        url = f"redis://127.0.0.1:{started.port}/0"
    else:
        started = make_cluster()
        process, stop = started.nodes[2]._process, started.stop
        url = started.url

    class Outage:
        kind = request.param

        def pause(self):
            os.kill(process.pid, signal.SIGSTOP)

        def go_on(self):
            os.kill(process.pid, signal.SIGCONT)

    Outage.url = url
    yield Outage()
    with contextlib.suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGCONT)
    stop()


@pytest.fixture
def cache_url(outage):
    return outage.url


@pytest.fixture
def cloud(dynamodb_model, cache_url):
    """With the short waits that it has in production."""
    return clouds.make_storage(dynamodb_model, clouds.make_cache(cache_url))


def ids_on_the_node(cloud):
    """Ids whose keys are on the third node of a cluster."""
    client = cloud.cache.server.client.get_client(write=True)
    for number in range(1000):
        key = interaction_key(f"i{number}")
        if not isinstance(client, RedisCluster) or client.keyslot(key) > 10922:
            yield f"i{number}"


def test_a_server_that_is_away_refuses_before_anything_is_deleted(cloud, outage, save, caplog):
    ids = ids_on_the_node(cloud)
    row = save(next(ids))
    outage.pause()
    for _ in range(4):  # and so it does when the circuit breaker has opened
        with pytest.raises(CacheNotErased):
            cloud.erase_hot([row], "ada")
        with pytest.raises(CacheNotErased) as caught:
            cloud.forget_user("ada")
    # The client's error may tell the key, and the key the user.
    assert caught.value.__suppress_context__
    assert "ada" not in caplog.text
    assert cloud.database._hot_item(row.interaction_id) is not None


def test_it_can_be_repeated_when_the_server_is_back(cloud, outage, save, raw, monkeypatch):
    row = save(next(ids_on_the_node(cloud)))
    cloud.cache_set_sync(f"chat:ada:{'0' * 64}", MARKER, 60)
    remove = cloud.database.remove_of_user

    def remove_and_lose_the_cache(rows, user_id):
        removed = remove(rows, user_id)
        raw.set(interaction_key(row.interaction_id), b'V{"user_id":"ada"}')  # as if it was evicted
        outage.pause()
        return removed

    monkeypatch.setattr(cloud.database, "remove_of_user", remove_and_lose_the_cache)
    with pytest.raises(CacheNotErased):
        cloud.erase_hot([row], "ada")
    assert cloud.database._hot_item(row.interaction_id) is None
    monkeypatch.undo()
    with pytest.raises(CacheNotErased):
        cloud.forget_user("ada")
    outage.go_on()
    servers.wait_for(lambda: _is_erased(cloud), "the erasure")
    assert traces(raw, "ada") == traces(raw, MARKER) == []


def test_the_rows_of_an_erasure_that_was_not_confirmed_can_be_given_again(
    cloud, outage, save, raw, monkeypatch
):
    row = save(next(ids_on_the_node(cloud)))
    cloud.database.client.call("DeleteItem", Key={"interaction_id": {"S": row.interaction_id}})
    assert cloud.erase_hot([row], "ada") == 0
    assert raw.get(interaction_key(row.interaction_id)) == BUSY


def _is_erased(cloud):
    try:
        return cloud.forget_user("ada") is not None
    except CacheNotErased:
        return False


def test_a_cluster_whose_slots_are_not_all_known_is_not_believed(valkey_cluster, monkeypatch):
    cache = clouds.make_cache(valkey_cluster.url)
    cache.clear()
    client = cache.client.get_client(write=True)
    nodes = client.nodes_manager
    initialize = nodes.initialize

    def without_one(*arguments, **options):
        initialize(*arguments, **options)
        del nodes.slots_cache[16383]

    monkeypatch.setattr(nodes, "initialize", without_one)
    with pytest.raises(redis.exceptions.RedisClusterException):
        RedisCells(cache).erase_user("ada")
    monkeypatch.undo()
    assert RedisCells(cache).erase_user("ada") == 0
