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
from redis.exceptions import RedisClusterException

from storage.cache import breaker, generations, guarded, leases, redis_cells, reliable_cells
from storage.cache.generations import LONGEST_LOOK, PAUSE_SECONDS, Generations
from storage.cache.keys import answer_key, interaction_key
from storage.dynamodb.generations import DynamoDBGenerations
from storage.exceptions import StorageUnavailable
from storage.records.audit import Kind
from storage.records.questions import Question
from tests import clouds, servers
from tests.clocks import Clock

KEY = interaction_key("i")
QUESTION = Question("ada", "What is a B-tree?")
PAUSE = breaker.PAUSE / 4


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch):
    """An outage is over a quarter as long after the return. `test_cache_outage` waits as long."""
    monkeypatch.setattr(breaker, "PAUSE", PAUSE)
    monkeypatch.setattr(guarded, "PAUSE", PAUSE)
    monkeypatch.setattr(reliable_cells, "SETTLING_SECONDS", 2 * PAUSE)


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


@pytest.fixture
def short_marks(monkeypatch):
    """Marks that come late stay for a second, and not for a minute."""
    monkeypatch.setattr(redis_cells, "_LEASE_MS", 1000)


@pytest.mark.usefixtures("cached", "short_marks")
def test_a_hung_server_that_comes_back_shows_nothing_old(writer, reader, hang, raw):
    with hang():
        notices(reader)
        writer.update_interaction_sync("i", {"response": "new"})
    assert responses(reader, 4 * PAUSE) == {"new"}
    assert responses(writer, 0.2) == {"new"}
    assert works_again(reader, raw)
    assert works_again(writer, raw)


@pytest.mark.usefixtures("cached")
def test_without_generations_it_would_be_shown_for_long(writer, reader, hang, raw, monkeypatch):
    # The control: nobody learns of what was missed.
    monkeypatch.setattr(Generations, "advance", lambda self, groups: None)
    old = raw.get(KEY)
    with hang():
        notices(writer)
        notices(reader)
        writer.update_interaction_sync("i", {"response": "new"})
    raw.set(KEY, old)
    assert "old" in responses(reader, 0, until="old")


def change_after_the_return(writer, reader, hang, monkeypatch, settles=True):
    """A writer that has not noticed the return yet changes `i`; gives what a reader finds then."""
    guard = writer.cache.cells._guards.of(KEY)
    with monkeypatch.context() as patched, hang():
        patched.setattr(guard, "_probe", failing)
        notices(writer)
        notices(reader)
    monkeypatch.setattr(guard, "_probe", failing)
    of_reader = reader.cache.cells._guards.of(KEY)
    servers.wait_for(lambda: not of_reader.is_open, "the reader to notice the return")
    if not settles:
        of_reader.back_since = 0.0
    reader.get_interaction_sync("i")
    writer.update_interaction_sync("i", {"response": "new"})
    return reader.get_interaction_sync("i").response


@pytest.fixture
def clock(monkeypatch):
    """The clock by which processes look at the generations."""
    clock = Clock()
    clock.steady = time.monotonic()
    monkeypatch.setattr(generations, "time", clock)
    return clock


@pytest.mark.usefixtures("cached")
def test_a_writer_may_be_the_last_to_notice_the_return(writer, reader, hang, monkeypatch):
    assert change_after_the_return(writer, reader, hang, monkeypatch) == "new"


@pytest.mark.usefixtures("cached", "clock")
def test_without_settling_what_it_changes_would_be_shown(writer, reader, hang, monkeypatch):
    # The control.
    assert change_after_the_return(writer, reader, hang, monkeypatch, settles=False) == "old"


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


@pytest.mark.usefixtures("cached", "short_marks")
def test_without_a_thread_to_be_had_writes_hold_and_the_cache_comes_back(
    writer, server, raw, hang, monkeypatch
):
    def refused(thread):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched, hang():
        patched.setattr(threading.Thread, "start", refused)
        for n in range(4):
            assert writer.update_interaction_sync("i", {"output_tokens": n}) is not None
    raw.delete(KEY)  # a mark that came late
    assert works_again(writer, raw)


# A process ends, orderly or not, before the server is back.

CHANGES = {
    "update": (lambda storage, _: storage.update_interaction_sync("i", NEW), ("new", "new")),
    "delete": (lambda storage, _: storage.delete_interaction_sync("i"), (None, None)),
    "save": (
        lambda storage, make: storage.save_interaction_sync(make(interaction_id="i", **NEW)),
        ("new", "new"),
    ),
    "a newer answer": (
        lambda storage, make: storage.save_interaction_sync(make(interaction_id="j", **NEW)),
        ("old", "new"),
    ),
    "a batch with a newer answer": (
        lambda storage, make: storage.create_interactions_sync([make(interaction_id="j", **NEW)]),
        ("old", "new"),
    ),
}
NEW = {"response": "new"}


def seen(storage):
    """The responses that a process gives by id, and to the question."""
    found = storage.get_interaction_sync("i"), storage.find_answer_sync(QUESTION)
    return tuple(each and each.response for each in found)


def ends(storage):
    """Nothing is done any more that a process meant to do later, as if it had been killed."""
    storage.cache.cells._cells._cache = None


def cut_off(storage, monkeypatch):
    """Only this process no longer reaches the server, and has noticed that."""
    monkeypatch.setattr(storage.cache.cells._cells, "_cache", None)
    guard = storage.cache.cells._guards.of(KEY)
    monkeypatch.setattr(guard, "_probe", failing)
    for _ in range(3):
        guard.ask(failing, None)


@pytest.fixture(params=CHANGES)
def missed_change(request, cached, writer, reader, clock, make_interaction, monkeypatch):
    """A change that was acknowledged by a process that missed it, and then ended; what is seen."""
    assert seen(reader) == ("old", "old")  # it has looked
    cut_off(writer, monkeypatch)
    change, after = CHANGES[request.param]
    change(writer, make_interaction)
    ends(writer)
    return after


def test_a_new_process_shows_nothing_that_another_one_missed(missed_change, make_process, raw):
    assert raw.get(KEY).startswith(b"V")  # it is still there
    assert seen(make_process()) == missed_change
    assert seen(make_process()) == missed_change


def test_a_process_that_noticed_nothing_learns_of_it_within_a_second(missed_change, reader, clock):
    clock.passes(PAUSE_SECONDS)
    reader.cache.cells._generations.look_again()  # as its thread does
    assert seen(reader) == missed_change


@pytest.mark.usefixtures("cached")
def test_a_process_that_noticed_the_outage_shows_nothing_that_another_one_missed(
    writer, reader, hang, monkeypatch
):
    with hang():
        notices(reader)
        cut_off(writer, monkeypatch)
        writer.delete_interaction_sync("i")
        ends(writer)
    of_reader = reader.cache.cells._guards.of(KEY)
    servers.wait_for(lambda: not of_reader.is_open, "the reader to notice the return")
    end = time.monotonic() + reliable_cells.SETTLING_SECONDS + 2 * PAUSE
    while time.monotonic() < end:
        assert seen(reader) == (None, None)
        time.sleep(0.02)


@pytest.mark.usefixtures("cached")
def test_a_process_that_was_not_used_looks_before_it_shows_anything(
    writer, reader, clock, monkeypatch
):
    assert seen(reader) == ("old", "old")
    while reader.cache.cells._generations.look_again():
        clock.passes(PAUSE_SECONDS)
    cut_off(writer, monkeypatch)
    writer.update_interaction_sync("i", NEW)
    assert seen(reader) == ("new", "new")


@pytest.mark.usefixtures("cached")
def test_a_process_whose_thread_does_not_look_uses_nothing_for_long(
    writer, reader, clock, monkeypatch
):
    assert seen(reader) == ("old", "old")
    cut_off(writer, monkeypatch)
    writer.update_interaction_sync("i", NEW)
    clock.passes(LONGEST_LOOK + 1)  # it was suspended, for example
    assert seen(reader) == ("new", "new")


@pytest.mark.usefixtures("cached")
def test_the_cache_is_used_while_the_generations_cannot_be_read(reader, clock, monkeypatch):
    assert seen(reader) == ("old", "old")
    monkeypatch.setattr(DynamoDBGenerations, "read", unavailable)
    monkeypatch.setattr(reader.database, "read", unavailable)
    for _ in range(3):
        clock.passes(PAUSE_SECONDS)
        reader.cache.cells._generations.look_again()
        assert seen(reader) == ("old", "old")


@pytest.mark.usefixtures("cached")
def test_a_process_that_could_never_read_the_generations_uses_no_value(make_process, monkeypatch):
    monkeypatch.setattr(DynamoDBGenerations, "read", unavailable)
    asked, process = [], make_process()
    read = process.database.read
    process.database.read = lambda interaction_id: asked.append(1) or read(interaction_id)
    assert process.get_interaction_sync("i").response == "old"
    assert process.update_interaction_sync("i", NEW).response == "new"
    assert process.get_interaction_sync("i").response == "new"
    assert asked == [1, 1]


@pytest.mark.usefixtures("cached")
def test_a_write_that_nobody_can_be_told_of_is_not_acknowledged(writer, reader, monkeypatch):
    cut_off(writer, monkeypatch)
    with monkeypatch.context() as patched:
        patched.setattr(DynamoDBGenerations, "advance", unavailable)
        with pytest.raises(StorageUnavailable):
            writer.update_interaction_sync("i", NEW)
    assert writer.update_interaction_sync("i", NEW).response == "new"
    reader.cache.cells._generations._look_now()
    assert seen(reader) == ("new", "new")


def unavailable(*arguments):
    raise StorageUnavailable("It does not answer.")


@pytest.mark.usefixtures("cached")
def test_what_an_index_may_not_show_yet_is_not_cached_again_at_once(
    writer, make_process, raw, clock, monkeypatch
):
    cut_off(writer, monkeypatch)
    writer.update_interaction_sync("i", NEW)
    reader = make_process()
    assert seen(reader) == ("new", "new")
    assert raw.get(KEY).startswith(b"V1{")
    assert raw.get(answer_key(QUESTION)) is None
    clock.passes(leases.LEASE_SECONDS)
    assert seen(reader) == ("new", "new")
    assert raw.get(answer_key(QUESTION)) == b'V1"i"'
    assert seen(make_process()) == ("new", "new")


@pytest.mark.usefixtures("cached")
def test_what_was_read_before_a_new_generation_is_not_used_in_it(
    writer, reader, raw, clock, monkeypatch
):
    raw.delete(KEY)
    read = reader.database.read

    def overtaken(interaction_id):
        found = read(interaction_id)
        cut_off(writer, monkeypatch)
        writer.update_interaction_sync("i", NEW)
        reader.cache.cells._generations._look_now()
        return found

    monkeypatch.setattr(reader.database, "read", overtaken)
    assert reader.get_interaction_sync("i").response == "old"  # it began before the change
    monkeypatch.undo()
    assert raw.get(KEY).startswith(b"V")
    assert reader.get_interaction_sync("i").response == "new"


@pytest.mark.usefixtures("cached")
def test_an_audit_counts_what_was_cached_before_an_outage(writer, make_process, clock, monkeypatch):
    cut_off(writer, monkeypatch)
    writer.update_interaction_sync("i", NEW)
    process = make_process()
    found = process.cache.audit(process.database.read, process.database.find_answer, None)
    assert found.differences == []
    assert found.entries[Kind.OUTDATED] == 2
    assert found.entries[Kind.INTERACTION] == found.entries[Kind.ANSWER] == 0


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


@pytest.fixture(scope="module", autouse=True)
def make_cluster():
    with servers.clusters(node_timeout=1000) as make:
        yield make


@pytest.fixture
def cluster(make_cluster):
    started = make_cluster()
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


def test_what_was_missed_while_a_node_was_away_is_not_shown_when_it_is_back(
    cluster, clustered, names
):
    storage, _ = clustered
    node = cluster.nodes[1]._process.pid
    os.kill(node, signal.SIGSTOP)
    try:
        for name in names[:50]:
            assert storage.delete_interaction_sync(name)
        ends(storage)
    finally:
        os.kill(node, signal.SIGCONT)
    new = clouds.storage_of(storage.database.client, clouds.make_cache(cluster.url))

    def is_back():
        with contextlib.suppress(redis.RedisError, RedisClusterException):
            cells = map(new.cache.cells._cells.get, map(interaction_key, names[:50]))
            return any(cell is not None and cell.startswith(b"V") for cell in cells)
        return False

    servers.wait_for(is_back, "the node, with what was deleted")
    for _ in range(2):
        assert [name for name in names if new.get_interaction_sync(name)] == names[50:]
