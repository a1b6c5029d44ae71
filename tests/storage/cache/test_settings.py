"""The settings of Redis Cluster reach every node of it, and older servers understand them."""

import pytest
from django.core.exceptions import ImproperlyConfigured
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


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("ssl=true", "unexpected keyword argument 'ssl'"),
        ("socket_timeout=hunter2", "Invalid value for 'socket_timeout'"),
        ("protocol=9", "protocol must be"),
    ],
)
def test_an_option_that_cannot_be_used_is_named_at_the_start(option, said):
    with pytest.raises(ImproperlyConfigured, match="REDIS_URL has an option") as error:
        redis_cache(f"redis://chat:hunter2@cache:6379/0?{option}", max_connections=2)
    assert said in str(error.value)
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize(
    "url",
    [
        "rediss://cache?ssl_cert_reqs=none&socket_timeout=1&max_connections=5&timeout=2",
        "redis+cluster://cache?read_from_replicas=true",
    ],
)
def test_an_option_of_the_library_is_taken(url):
    assert "?" in redis_cache(url, max_connections=2)["LOCATION"]


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
