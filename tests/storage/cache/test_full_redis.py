"""A Redis whose memory is full, and which evicts nothing: it refuses marks, but still deletes."""

import contextlib

import pytest
from redis import Redis
from redis.exceptions import OutOfMemoryError

from storage.cache.leases import BUSY
from storage.cache.redis_cells import RedisCells
from tests import clouds


@pytest.fixture(params=clouds.REDIS)
def redis_server(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def cache(redis_server):
    cache = clouds.make_cache(clouds.redis_url(redis_server, 0), **clouds.PATIENT)
    cache.clear()
    yield cache
    cache.close()


@pytest.fixture
def full(redis_server):
    """While this is entered, the server is full."""

    @contextlib.contextmanager
    def full():
        is_cluster = hasattr(redis_server, "clients")
        nodes = redis_server.clients() if is_cluster else [Redis(port=redis_server.port)]
        before = [node.config_get("maxmemory*") for node in nodes]
        for node in nodes:
            node.config_set("maxmemory-policy", "noeviction")
            node.config_set("maxmemory", "1")
        yield
        for node, values in zip(nodes, before, strict=True):
            node.config_set("maxmemory", values["maxmemory"])
            node.config_set("maxmemory-policy", values["maxmemory-policy"])

    return full


@pytest.fixture
def cells(cache):
    cells = RedisCells(cache)
    for key in ("chat:full:1", "chat:full:2", "chat:full:3"):
        cells.end(key, cells.begin(key, b"1", []), b"old", 60, [])
    return cells


KEYS = ["chat:full:1", "chat:full:2", "chat:full:3"]


@pytest.mark.parametrize(
    "refused",
    [
        lambda cells: cells.begin(KEYS[0], b"2", KEYS[1:]),
        lambda cells: cells.mark(KEYS),
    ],
    ids=["begin", "mark"],
)
def test_what_cannot_be_marked_is_deleted(cells, full, refused):
    with full(), pytest.raises(OutOfMemoryError):
        refused(cells)
    assert [cells.get(key) for key in KEYS] == [None, None, None]


def test_what_cannot_be_cached_after_a_commit_is_deleted(cells, full):
    token = cells.begin(KEYS[0], b"2", KEYS[1:])
    with full(), pytest.raises(OutOfMemoryError):
        cells.end(KEYS[0], token, b"new", 60, KEYS[1:])
    assert [cells.get(key) for key in KEYS] == [None, BUSY, BUSY]


def test_another_process_shows_a_change_at_once(
    dynamodb_model, redis_server, cache, full, make_interaction
):
    storage = clouds.make_storage(dynamodb_model, cache)
    beside = clouds.make_cache(clouds.redis_url(redis_server, 0), **clouds.PATIENT)
    other = clouds.storage_of(storage.database.client, beside)
    saved = make_interaction(interaction_id="full", response="old")
    storage.save_interaction_sync(saved)
    assert other.get_interaction_sync("full").response == "old"
    with full():
        saved.response = "new"
        storage.save_interaction_sync(saved)
        assert other.get_interaction_sync("full").response == "new"
    beside.close()
