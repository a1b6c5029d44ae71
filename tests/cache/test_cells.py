"""The scripts in Redis do what the functions of `storage.cache.leases` say, cell by cell."""

import fakeredis
import pytest
from redis import Redis

from storage.cache import leases
from storage.cache.redis_cells import RedisCells
from tests import clouds

KEY = "chat:ada:cell"
CELLS = [None, b"Vold", b"V", b"Tmine", b"Tother", b"Bmine", b"Bother", b"X", b"junk", b""]
OPERATIONS = {
    "fill": (
        lambda cells: cells.fill(KEY, b"mine", b"n\0\xffw", 60),
        lambda cell: leases.fill(cell, b"mine", b"n\0\xffw"),
    ),
    "begin": (
        lambda cells: cells.begin(KEY, b"mine"),
        lambda cell: leases.begin(cell, b"mine"),
    ),
    "end with a value": (
        lambda cells: cells.end(KEY, b"mine", b"new", 60),
        lambda cell: leases.end(cell, b"mine", b"new"),
    ),
    "end with an empty value": (
        lambda cells: cells.end(KEY, b"mine", b"", 60),
        lambda cell: leases.end(cell, b"mine", b""),
    ),
    "end without a value": (
        lambda cells: cells.end(KEY, b"mine", None, 0),
        lambda cell: leases.end(cell, b"mine", None),
    ),
    "lease": (
        lambda cells: cells.lease(KEY, b"mine"),
        lambda cell: leases.lease(cell, b"mine"),
    ),
}


@pytest.fixture(params=["fakeredis", "valkey_server", "valkey_cluster"])
def cells(request):
    if request.param == "fakeredis":
        cache = clouds.make_cache(
            "redis://fakeredis/1", connection_class=fakeredis.FakeRedisConnection
        )
    elif request.param == "valkey_server":
        port = request.getfixturevalue("valkey_server").port
        cache = clouds.make_cache(f"redis://127.0.0.1:{port}/1")
    else:
        cache = clouds.make_cache(request.getfixturevalue("valkey_cluster").url)
    return RedisCells(cache)


def put(cells, cell):
    client: Redis = cells._client
    client.delete(KEY)
    if cell is not None:
        client.set(KEY, cell, px=7_000)


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("cell", CELLS, ids=repr)
def test_a_script_leaves_what_the_function_says(cells, name, cell):
    do, expected = OPERATIONS[name]
    put(cells, cell)
    do(cells)
    assert cells.get(KEY) == expected(cell)


def test_only_one_reader_gets_the_lease(cells):
    put(cells, None)
    assert [cells.lease(KEY, b"mine"), cells.lease(KEY, b"other")] == [True, False]


def life(cells):
    return cells._client.pttl(KEY) / 1000


def test_leases_and_marks_end_by_themselves(cells):
    put(cells, None)
    cells.lease(KEY, b"mine")
    assert leases.LEASE_SECONDS - 5 < life(cells) <= leases.LEASE_SECONDS
    cells.begin(KEY, b"mine")
    assert leases.LEASE_SECONDS - 5 < life(cells) <= leases.LEASE_SECONDS
    cells.begin(KEY, b"other")
    assert cells.get(KEY) == leases.BUSY
    assert leases.LEASE_SECONDS - 5 < life(cells) <= leases.LEASE_SECONDS


def test_a_value_lives_as_long_as_it_is_given(cells):
    put(cells, b"Tmine")
    cells.fill(KEY, b"mine", b"value", 20)
    assert 15 < life(cells) <= 20
    put(cells, b"Bmine")
    cells.end(KEY, b"mine", b"value", 30)
    assert 25 < life(cells) <= 30


def test_a_mark_of_several_writers_keeps_its_own_life(cells):
    put(cells, b"X")
    cells.end(KEY, b"mine", b"value", 30)
    assert cells.get(KEY) == b"X"
    assert 0 < life(cells) <= 7


def test_a_large_value_is_kept(cells):
    put(cells, b"Tmine")
    cells.fill(KEY, b"mine", bytes(range(256)) * 2000, 60)
    assert cells.get(KEY) == b"V" + bytes(range(256)) * 2000
