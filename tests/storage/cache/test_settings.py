"""The settings of Redis Cluster reach every node of it."""

from django.utils.module_loading import import_string

from storage.cache.redis import redis_cache


def test_keys_of_every_node_are_found(valkey_cluster):
    url = f"redis+cluster://127.0.0.1:{valkey_cluster.ports[0]}/0"
    parameters = redis_cache(url, max_connections=2)
    cache = import_string(parameters.pop("BACKEND"))(parameters.pop("LOCATION"), parameters)
    for number in range(30):
        cache.set(f"chat:ada:{number}", str(number), 60)
    assert [cache.get(f"chat:ada:{n}") for n in range(30)] == [str(n) for n in range(30)]
