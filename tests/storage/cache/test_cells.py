"""The scripts in Redis do what the functions of `storage.cache.leases` say, cell by cell."""

import pytest
from redis import Redis

from storage.cache import leases

KEY = "chat:ada:cell"
CELLS = [
    None,
    b"Vold",
    b"V",
    b"Tmine",
    b"Tother",
    b"Bmine",
    b"Bother",
    b"X",
    b"junk",
    b"",
    b"T" + b"x" * 80,
]
OPERATIONS = {
    "fill": (
        lambda cells: cells.fill(KEY, b"mine", b"n\0\xffw", 60),
        lambda cell: leases.fill(cell, b"mine", b"n\0\xffw"),
    ),
    "give back": (
        lambda cells: cells.fill(KEY, b"mine", None, 0),
        lambda cell: leases.fill(cell, b"mine", None),
    ),
    "begin": (
        lambda cells: cells.begin(KEY, b"mine", []),
        lambda cell, token: leases.begin(cell, token),
    ),
    "mark": (lambda cells: cells.mark([KEY]), leases.mark),
    "drop": (lambda cells: cells.drop(KEY), leases.drop),
    "end with a value": (
        lambda cells: cells.end(KEY, b"mine", b"new", 60, []),
        lambda cell: leases.end(cell, b"mine", b"new"),
    ),
    "end with an empty value": (
        lambda cells: cells.end(KEY, b"mine", b"", 60, []),
        lambda cell: leases.end(cell, b"mine", b""),
    ),
    "end without a value": (
        lambda cells: cells.end(KEY, b"mine", None, 0, []),
        lambda cell: leases.end(cell, b"mine", None),
    ),
    "lease": (
        lambda cells: cells.lease(KEY, b"mine"),
        lambda cell, token: leases.lease(cell, token or b"none"),
    ),
}


def put(cells, cell):
    client: Redis = cells._client
    client.delete(KEY)
    if cell is not None:
        client.set(KEY, cell, px=7_000)


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_script_leaves_what_the_function_says(cells, name):
    do, expected = OPERATIONS[name]
    for cell in CELLS:
        put(cells, cell)
        answer = do(cells)
        # A token is made of the one that was given.
        known = (answer,) if name in ("begin", "lease") else ()
        assert cells.get(KEY) == expected(cell, *known), cell


def test_a_script_on_several_keys_does_what_it_does_on_each(cells):
    keys = [f"{KEY}:{number}" for number in range(5)]  # on several nodes of a cluster
    for key in keys:
        cells.delete(key)
    token = cells.begin(keys[0], b"mine", keys[1:])
    assert [cells.get(key) for key in keys] == [b"B" + token, *[leases.BUSY] * 4]
    for key in keys[1:]:
        cells.delete(key)
    cells.end(keys[0], token, b"new", 60, keys[1:])
    assert [cells.get(key) for key in keys] == [b"Vnew", *[leases.BUSY] * 4]


def test_only_one_reader_gets_the_lease(cells):
    put(cells, None)
    assert cells.lease(KEY, b"mine").startswith(b"mine")
    assert cells.lease(KEY, b"other") is None


def life(cells):
    return cells._client.pttl(KEY) / 1000


def test_leases_and_marks_end_by_themselves(cells):
    put(cells, None)
    cells.lease(KEY, b"mine")
    assert leases.LEASE_SECONDS - 5 < life(cells) <= leases.LEASE_SECONDS
    cells.begin(KEY, b"mine", [])
    assert leases.LEASE_SECONDS - 5 < life(cells) <= leases.LEASE_SECONDS
    cells.begin(KEY, b"other", [])
    assert cells.get(KEY) == leases.BUSY
    assert leases.LEASE_SECONDS - 5 < life(cells) <= leases.LEASE_SECONDS


def test_a_value_lives_as_long_as_it_is_given(cells):
    put(cells, b"Tmine")
    cells.fill(KEY, b"mine", b"value", 20)
    assert 15 < life(cells) <= 20
    put(cells, b"Bmine")
    cells.end(KEY, b"mine", b"value", 30, [])
    assert 25 < life(cells) <= 30


def test_a_mark_of_several_writers_keeps_its_own_life(cells):
    put(cells, b"X")
    cells.end(KEY, b"mine", b"value", 30, [])
    assert cells.get(KEY) == b"X"
    assert 0 < life(cells) <= 7


def test_a_large_value_is_kept(cells):
    put(cells, b"Tmine")
    cells.fill(KEY, b"mine", bytes(range(256)) * 2000, 60)
    assert cells.get(KEY) == b"V" + bytes(range(256)) * 2000
