"""The settings of Redis Cluster reach every node of it, and older servers understand them."""

import pytest
from django.utils.module_loading import import_string

from storage.cache.redis import redis_cache
from storage.cache.redis_cells import RedisCells
from tests import clouds, servers


def test_keys_of_every_node_are_found(valkey_cluster):
    url = f"redis+cluster://127.0.0.1:{valkey_cluster.ports[0]}/0"
    parameters = redis_cache(url, max_connections=2)
    cache = import_string(parameters.pop("BACKEND"))(parameters.pop("LOCATION"), parameters)
    for number in range(30):
        cache.set(f"chat:ada:{number}", str(number), 60)
    assert [cache.get(f"chat:ada:{n}") for n in range(30)] == [str(n) for n in range(30)]


@pytest.fixture(scope="module")
def without_hello():
    """A server that refuses HELLO, as those before 6.0 and some proxies do."""
    server = servers.start_valkey(**{"rename-command": 'HELLO ""'})
    yield server
    server.terminate()


def test_a_server_that_does_not_know_hello_is_in_use(without_hello):
    cache = clouds.make_cache(f"redis://127.0.0.1:{without_hello.port}/1", **clouds.PATIENT)
    cells = RedisCells(cache)
    token = cells.begin("key", b"writer", ["mark"])
    cells.end("key", token, b"new", 60, ["mark"])
    assert cells.get("key") == b"Vnew"
    cache.set("string", "text", 60)
    assert cache.get("string") == "text"
