"""The in-memory cache does what Django's other caches do, with values that cannot change."""

import pytest

from storage.cache.memory import MemoryCache


@pytest.fixture
def cache():
    made = MemoryCache("test_memory", {"OPTIONS": {"MAX_ENTRIES": 10}})
    made.clear()
    return made


def test_every_way_to_keep_a_value_is_read_by_every_other(cache):
    cache.set("a", "text", 60)
    assert cache.get("a") == "text"
    assert not cache.add("a", "other")
    assert cache.add("b", b"bytes")
    assert cache.get_many(["a", "b", "c"]) == {"a": "text", "b": b"bytes"}
    assert cache.get_or_set("n", 1) == 1
    assert cache.incr("n", 2) == 3
    assert cache.get("n") == 3
    assert cache.touch("n", 60)
    assert cache.has_key("n")
    assert cache.delete("n")
    assert cache.get("n", "none") == "none"
    with pytest.raises(ValueError, match="not found"):
        cache.incr("n")


def test_what_has_expired_is_gone(cache):
    cache.set("a", "text", 0)
    assert cache.get("a") is None
    assert cache.add("a", "new", 60)
    assert cache.get("a") == "new"


def test_it_keeps_no_more_than_it_may(cache):
    for n in range(100):
        cache.set(str(n), n)
    assert cache.get("99") == 99
    assert sum(cache.has_key(str(n)) for n in range(100)) <= 10
