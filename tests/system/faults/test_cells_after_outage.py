"""What was cached before an outage of Redis and changed during it is not given after it.

Two storages stand for two processes: each has a breaker and a memory of its own.
"""

import contextlib
import os
import signal
import threading
import time

import pytest
import redis

from storage.cache import missed, reliable_cells
from storage.cache.keys import interaction_key
from storage.cache.missed import MissedInvalidations
from storage.exceptions import StorageUnavailable
from storage.records.questions import Question
from tests import clouds, servers
from tests.clocks import Clock

KEY = interaction_key("i")
QUESTION = Question("ada", "What is a B-tree?")


@pytest.fixture
def server():
    started = servers.start_valkey()
    yield started
    with contextlib.suppress(ProcessLookupError):
        os.kill(started._process.pid, signal.SIGCONT)
    started.terminate()


@pytest.fixture
def raw(server):
    with redis.Redis(port=server.port) as client:
        yield client


@pytest.fixture
def make_process(dynamodb_model, server):
    """Makes storages of one table and one Redis."""
    url = f"redis://127.0.0.1:{server.port}/0"
    first = clouds.make_storage(dynamodb_model, clouds.make_cache(url))
    return lambda: clouds.storage_of(first.database.client, clouds.make_cache(url))


@pytest.fixture
def writer(make_process):
    return make_process()


@pytest.fixture
def reader(make_process):
    return make_process()


@pytest.fixture
def cached(writer, reader, raw, make_interaction):
    """The interaction `i`, whose response is `old`, in the cache by id and as an answer."""
    writer.save_interaction_sync(make_interaction(interaction_id="i", response="old"))
    raw.flushdb()
    while not (raw.get(KEY) or b"").startswith(b"V"):
        assert reader.find_answer_sync(QUESTION).response == "old"


@pytest.fixture
def hang(server):
    @contextlib.contextmanager
    def hung():
        os.kill(server._process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(server._process.pid, signal.SIGCONT)

    return hung


def failing(*arguments):
    raise redis.exceptions.TimeoutError


def notices(storage):
    """The storage has calls enough to see that Redis is away."""
    for _ in range(4):
        storage.get_interaction_sync("i")


def responses(storage, seconds, until=None):
    """All that the storage gives for so long; if need be for longer, until it has given `until`."""
    found, end = set(), time.monotonic() + seconds
    while time.monotonic() < end or (until is not None and until not in found):
        found.add(storage.get_interaction_sync("i").response)
        found.add(storage.find_answer_sync(QUESTION).response)
        time.sleep(0.02)
    return found


def works_again(storage, raw):
    """Whether the storage fills the cache again, be it late."""
    end = time.monotonic() + 300
    while time.monotonic() < end:
        storage.get_interaction_sync("i")
        if (raw.get(KEY) or b"").startswith(b"V"):
            return True
        time.sleep(0.05)
    return False


@pytest.mark.usefixtures("cached")
def test_a_hung_server_that_comes_back_shows_nothing_old(writer, reader, hang, raw):
    with hang():
        notices(reader)
        writer.update_interaction_sync("i", {"response": "new"})
    assert responses(reader, 4) == {"new"}
    assert responses(writer, 0.2) == {"new"}
    assert works_again(reader, raw)
    assert works_again(writer, raw)


@pytest.mark.usefixtures("cached")
def test_without_settling_others_would_show_it(writer, reader, hang, raw, monkeypatch):
    # The control: what the writer missed is removed a moment too late for the reader.
    monkeypatch.setattr(reliable_cells, "SETTLING_SECONDS", 0.0)
    monkeypatch.setattr(MissedInvalidations, "make_up", lambda self: True)
    old = raw.get(KEY)
    with hang():
        notices(reader)
        writer.update_interaction_sync("i", {"response": "new"})
    raw.set(KEY, old)  # commands that wait for a hung server take effect when it goes on
    assert responses(reader, 1, until="old") == {"old", "new"}


@pytest.mark.usefixtures("cached")
def test_without_remembering_it_would_be_shown_for_long(writer, reader, hang, raw, monkeypatch):
    # The control: nothing that was missed is made up for.
    monkeypatch.setattr(MissedInvalidations, "add", lambda self, keys, invalidate: None)
    old = raw.get(KEY)
    with hang():
        notices(writer)
        notices(reader)
        writer.update_interaction_sync("i", {"response": "new"})
    raw.set(KEY, old)
    assert "old" in responses(reader, 0, until="old")


@pytest.mark.usefixtures("cached")
def test_a_fault_that_eats_begin_and_end_of_a_write_is_made_good_before_its_answer(
    writer, reader, monkeypatch
):
    cells = writer.cache.cells._cells
    end, failures = cells.end, [False, True]

    def failing_once(*arguments):
        if failures.pop():
            raise redis.exceptions.TimeoutError
        end(*arguments)

    monkeypatch.setattr(cells, "begin", failing)
    monkeypatch.setattr(cells, "end", failing_once)
    writer.update_interaction_sync("i", {"response": "new"})
    assert failures == []
    assert reader.get_interaction_sync("i").response == "new"


@pytest.mark.usefixtures("cached")
def test_what_is_made_up_for_while_it_is_read_is_not_given(writer, monkeypatch):
    cells = writer.cache.cells
    get = cells._cells.get

    def overtaken(key):
        cell = get(key)
        cells._missed.make_up()  # the thread removes it just now, and forgets it
        return cell

    monkeypatch.setattr(missed.background, "repeat", lambda do, pause: None)
    with monkeypatch.context() as patched:
        patched.setattr(cells._cells, "end", failing)
        patched.setattr(cells._cells, "begin", failing)
        writer.update_interaction_sync("i", {"response": "new"})
    monkeypatch.setattr(cells._cells, "get", overtaken)
    cells._guards.of(KEY)._breaker.succeeded()
    assert writer.get_interaction_sync("i").response == "new"


@pytest.mark.usefixtures("cached")
def test_thousands_that_were_missed_are_removed_before_others_are_given_them(
    writer, reader, hang, raw
):
    many = [f"chat:ada:{n}" for n in range(20_000)]
    with hang():
        notices(reader)
        writer.update_interaction_sync("i", {"response": "new"})
        writer.cache.cells.mark(many)
    assert responses(reader, 4) == {"new"}
    assert raw.exists(*many) == len(many)


@pytest.mark.usefixtures("cached")
def test_a_server_that_refuses_writes_is_given_up(writer, reader, raw):
    raw.config_set("min-replicas-to-write", 1)
    for n in range(3):
        writer.update_interaction_sync("i", {"output_tokens": n})
        reader.get_interaction_sync("unknown")  # asks for a lease
    guard = writer.cache.cells._guards.of(KEY)
    assert guard._breaker.is_open
    assert writer.get_interaction_sync("i").output_tokens == 2


@pytest.mark.usefixtures("cached")
def test_a_write_of_unknown_outcome_leaves_nothing_cached(writer, reader, monkeypatch):
    cells = writer.cache.cells._cells
    change = writer.database.update

    def unknown(*arguments):
        change(*arguments)
        raise StorageUnavailable("its answer was lost")

    monkeypatch.setattr(cells, "begin", failing)
    monkeypatch.setattr(writer.database, "update", unknown)
    with pytest.raises(StorageUnavailable):
        writer.update_interaction_sync("i", {"response": "new"})
    assert reader.get_interaction_sync("i").response == "new"


@pytest.mark.usefixtures("cached")
def test_without_a_thread_to_be_had_writes_hold_and_the_cache_comes_back(
    writer, server, raw, hang, monkeypatch
):
    def refused(thread):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched, hang():
        patched.setattr(threading.Thread, "start", refused)
        for n in range(4):
            assert writer.update_interaction_sync("i", {"output_tokens": n}) is not None
    assert works_again(writer, raw)


@pytest.mark.usefixtures("cached")
def test_what_was_missed_is_removed_though_no_call_comes(writer, hang, raw):
    with hang():
        writer.delete_interaction_sync("i")
    end = time.monotonic() + 300
    while raw.get(KEY) is not None and time.monotonic() < end:
        time.sleep(0.05)
    assert raw.get(KEY) is None


@pytest.mark.usefixtures("cached")
def test_until_it_is_removed_its_process_is_not_given_it(writer, hang, raw, monkeypatch):
    monkeypatch.setattr(MissedInvalidations, "make_up", lambda self: True)
    monkeypatch.setattr(reliable_cells, "SETTLING_SECONDS", 0.0)
    old = raw.get(KEY)
    with hang():
        writer.update_interaction_sync("i", {"response": "new"})
    time.sleep(1.1)  # the breaker's pause
    raw.set(KEY, old)
    assert responses(writer, 1) == {"new"}


@pytest.mark.usefixtures("cached")
def test_more_than_can_be_remembered_turns_the_cache_off_until_all_has_ended(
    writer, hang, raw, monkeypatch
):
    monkeypatch.setattr(missed, "REMEMBERED", 0)
    monkeypatch.setattr(reliable_cells, "SETTLING_SECONDS", 0.0)
    clock = Clock()
    monkeypatch.setattr(missed, "time", clock)
    old = raw.get(KEY)
    with hang():
        writer.update_interaction_sync("i", {"response": "new"})
    raw.set(KEY, old)
    assert responses(writer, 2) == {"new"}
    raw.delete(KEY)
    clock.passes(writer.cache.cells._missed._ttl)
    assert works_again(writer, raw)


@pytest.mark.usefixtures("cached")
def test_a_write_during_an_outage_waits_for_redis_only_until_the_breaker_opens(writer, hang):
    with hang():
        notices(writer)
        start = time.monotonic()
        for n in range(20):
            writer.update_interaction_sync("i", {"output_tokens": n})
        took = time.monotonic() - start
    print(f"20 updates took {took:.3f} s")
    assert writer.get_interaction_sync("i").output_tokens == 19


@pytest.fixture
def cluster():
    started = servers.ValkeyCluster(node_timeout=2000)
    yield started
    started.stop()


@pytest.fixture
def names(make_interaction):
    return [f"i{n}" for n in range(60)]


@pytest.fixture
def clustered(cluster, dynamodb_model, make_interaction, names):
    """A storage whose interactions are all cached in the cluster, and the ids that it reads."""
    storage = clouds.make_storage(dynamodb_model, clouds.make_cache(cluster.url))
    for name in names:
        storage.save_interaction_sync(make_interaction(interaction_id=name, response=""))
    asked, item = [], storage.database._item
    storage.database._item = lambda interaction_id: (
        asked.append(interaction_id) or item(interaction_id)
    )
    assert len([storage.get_interaction_sync(name) for name in names]) == 60
    assert asked == []
    return storage, asked


def read_until(storage, asked, names, enough):
    """Read all again and again until `enough(number)` of them were asked of the database."""
    end = time.monotonic() + 300
    while time.monotonic() < end:
        asked.clear()
        for name in names:
            assert storage.get_interaction_sync(name).interaction_id == name
        if enough(len(asked)):
            return True
        # A write that Redis may miss: it must not turn the others off.
        changed = storage.update_interaction_sync(names[0], {"output_tokens": len(asked)})
        assert storage.get_interaction_sync(names[0]).output_tokens == changed.output_tokens
        time.sleep(0.2)
    return False


def test_a_node_of_a_cluster_that_is_away_costs_its_own_keys_only(cluster, clustered, names):
    cluster.nodes[1].terminate()
    assert read_until(*clustered, names, lambda number: 0 < number < 40)


def test_after_a_failover_all_is_cached_again(cluster, clustered, names):
    cluster.add_replica(1)
    cluster.nodes[1].terminate()
    assert read_until(*clustered, names, lambda number: number > 0)  # it was noticed
    assert read_until(*clustered, names, lambda number: number == 0)
