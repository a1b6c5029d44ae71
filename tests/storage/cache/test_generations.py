"""The generations of cached values, as one process knows them and as DynamoDB keeps them."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.core.cache.backends.dummy import DummyCache

from storage.cache import generations, reliable_cells
from storage.cache.generations import Generations
from storage.cache.guarded import GROUPS, Guards
from storage.cache.keys import interaction_key
from storage.dynamodb.generations import DynamoDBGenerations
from storage.exceptions import StorageUnavailable
from tests import clouds, servers
from tests.clocks import Clock

ALL = [f"{number:02x}" for number in range(GROUPS)]


class Store:
    """Keeps generations, counts what it is asked, and may be held up."""

    def __init__(self):
        self.numbers, self.reads, self.advances = {}, 0, []
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        self.error = None

    def read(self):
        self.reads += 1
        return dict(self.numbers)

    def advance(self, groups):
        self.advances.append(set(groups))
        self.may_go_on.wait(60)
        if self.error:
            raise self.error
        self.numbers |= {group: self.numbers.get(group, 0) + 1 for group in groups}
        return dict(self.numbers)


@pytest.fixture
def store():
    return Store()


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(generations, "time", clock)
    return clock


@pytest.fixture
def no_threads(monkeypatch):
    monkeypatch.setattr(generations.background, "repeat", lambda do, pause: False)


@pytest.fixture
def table(dynamodb_model):
    storage = clouds.make_storage(dynamodb_model, DummyCache("", {}))
    return DynamoDBGenerations(storage.database.client)


def test_dynamodb_counts_the_generations_of_each_group(table):
    assert table.read() == {}
    assert table.advance(["0a"]) == {"0a": 1}
    assert table.advance(["0a", "ff"]) == {"0a": 2, "ff": 1}
    assert table.read() == {"0a": 2, "ff": 1}


def test_dynamodb_takes_all_groups_at_once(table):
    assert table.advance(ALL) == dict.fromkeys(ALL, 1)
    assert table.read() == dict.fromkeys(ALL, 1)


def test_advances_at_the_same_time_are_all_counted(table):
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: table.advance(["0a"]), range(20)))
    assert table.read() == {"0a": 20}


def test_a_process_looks_once_a_second_while_it_is_used(store, clock, no_threads):
    process = Generations(store)
    for _ in range(3):
        assert process.current("0a", 0.0) == 0
    assert store.reads == 1
    clock.passes(generations.PAUSE_SECONDS + 0.001)
    store.numbers = {"0a": 1}
    assert [process.current("0a", 0.0), process.current("0b", 0.0)] == [1, 0]
    assert store.reads == 2


def test_a_look_from_before_an_outage_does_not_count_after_it(store, clock, no_threads):
    process = Generations(store)
    process.current("0a", 0.0)
    clock.passes(0.5)
    since = clock.monotonic()
    assert process.current("0a", since) == 0
    assert process.current("0a", since) == 0
    assert store.reads == 2


def test_its_own_new_generation_is_known_at_once(store, clock, no_threads):
    process = Generations(store)
    process.current("0a", 0.0)
    process.advance(["0a"])
    assert process.current("0a", 0.0) == 1
    assert store.reads == 1


def test_an_answer_that_comes_late_takes_nothing_back(store, clock, no_threads):
    process = Generations(store)
    process.current("0a", 0.0)
    process.advance(["0a"])
    process._learn({})
    process._learn({"0b": 3})
    assert [process.current(group, 0.0) for group in ("0a", "0b")] == [1, 3]


def test_writers_that_come_meanwhile_share_the_next_request(store):
    process = Generations(store)
    store.may_go_on.clear()
    with ThreadPoolExecutor(9) as threads:
        first = threads.submit(process.advance, ["00"])
        servers.wait_for(lambda: store.advances, "the first request")
        others = [threads.submit(process.advance, [group]) for group in ALL[1:9]]
        servers.wait_for(lambda: len(process._next.groups) == 8, "the others")
        store.may_go_on.set()
        for each in [first, *others]:
            each.result()
    assert store.advances == [{"00"}, set(ALL[1:9])]


def test_every_writer_is_told_that_a_shared_request_failed(store):
    process = Generations(store)
    store.may_go_on.clear()
    store.error = StorageUnavailable("It does not answer.")
    with ThreadPoolExecutor(4) as threads:
        calls = [threads.submit(process.advance, [group]) for group in ALL[:4]]
        store.may_go_on.set()
        for call in calls:
            with pytest.raises(StorageUnavailable, match="does not answer"):
                call.result()
    store.error = None
    process.advance(["00"])
    assert store.numbers == {"00": 1}


def test_a_group_of_a_cluster_lies_in_one_part_of_its_slots():
    guards = Guards(clouds.make_cache("redis+cluster://127.0.0.1:1/0"))
    names = [interaction_key(f"i{number}") for number in range(2000)]
    parts = {}
    for name in names:
        parts.setdefault(guards.group_of(name), set()).add(guards.of(name))
    assert all(len(part) == 1 for part in parts.values())
    assert set(parts) <= set(ALL)
    assert len(parts) > 250


def test_a_group_of_a_server_is_one_of_256():
    guards = Guards(clouds.make_cache("redis://127.0.0.1:1/0"))
    groups = {guards.group_of(interaction_key(f"i{number}")) for number in range(5000)}
    assert groups == set(ALL)


@pytest.mark.parametrize(
    ("cell", "generation", "value"),
    [
        (b'V{"a":1}', 0, b'V{"a":1}'),
        (b'V12{"a":1}', 12, b'V{"a":1}'),
        (b'V7"i"', 7, b'V"i"'),
        (b"V", 0, b"V"),
        (b"V5", 5, b"V"),
        (b"V" + b"9" * 5000, 10**18 - 1, b"V"),
    ],
)
def test_the_generation_of_a_cell(cell, generation, value):
    assert reliable_cells._without_generation(cell) == (generation, value)
