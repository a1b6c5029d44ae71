"""Many readers of a key that is not cached ask the database once, and none waits for long."""

import threading
import time

import pytest

from storage.cache import read_through
from storage.exceptions import StorageUnavailable
from tests.clouds import CONNECTIONS
from tests.storage.cache.conftest import ID_KEY, QUESTION

READ_SECONDS = 0.05
READERS = CONNECTIONS


@pytest.fixture
def slow(cloud, monkeypatch):
    """Reads of the database that take READ_SECONDS, as they usually do, and are counted."""
    item, asked = cloud.database._item, []

    def read(interaction_id):
        asked.append(interaction_id)
        time.sleep(READ_SECONDS)
        return item(interaction_id)

    monkeypatch.setattr(cloud.database, "_item", read)
    monkeypatch.setattr(cloud.cache.through, "_usual_seconds", READ_SECONDS)
    monkeypatch.setattr(cloud.cache.through, "_spread", READ_SECONDS / 5)
    return asked


class OwnClock(threading.local):
    """In the place of `time`, for each thread: it goes on only while that thread waits."""

    def __init__(self):
        self.steady = 0.0

    def monotonic(self):
        return self.steady

    def sleep(self, seconds):
        self.steady += seconds


@pytest.fixture
def clock(slow, cloud, monkeypatch):
    """The clock of those who wait, and of reads that take READ_SECONDS by it."""
    clock, item = OwnClock(), cloud.database._item

    def read(interaction_id):
        clock.sleep(READ_SECONDS)
        return item(interaction_id)

    monkeypatch.setattr(read_through, "time", clock)
    monkeypatch.setattr(cloud.database, "_item", read)
    return clock


@pytest.fixture
def patient(slow, monkeypatch):
    """Whoever waits does so for long enough on a machine that is busy."""
    monkeypatch.setattr(read_through, "LONGEST_WAIT", 20.0)
    monkeypatch.setattr(read_through.ReadThrough, "_patience", lambda self: 20.0)


def together(call, clock=time):
    """What each of READERS threads gets that calls at the same moment, and the longest time."""
    barrier, results, times = threading.Barrier(READERS), [], []

    def run():
        barrier.wait()
        start = clock.monotonic()
        try:
            results.append(call())
        except StorageUnavailable as error:
            results.append(error)
        times.append(clock.monotonic() - start)

    threads = [threading.Thread(target=run) for _ in range(READERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results, max(times)


def test_one_reads_and_all_get_it(cloud, stored, slow, patient):
    results, longest = together(lambda: cloud.get_interaction_sync("i"))
    assert [found.interaction_id for found in results] == ["i"] * READERS
    assert slow == ["i"]
    print(f"The longest took {longest:.3f} s where a read takes {READ_SECONDS}.")


def test_one_asks_for_an_answer_and_all_get_it(cloud, stored, slow, patient, monkeypatch):
    asked, find = [], cloud.database.find_answer
    monkeypatch.setattr(
        cloud.database,
        "find_answer",
        lambda question, read: asked.append(question) or find(question, read),
    )
    results, _ = together(lambda: cloud.find_answer_sync(QUESTION))
    assert [found.interaction_id for found in results] == ["i"] * READERS
    assert asked == [QUESTION]
    assert slow == ["i"]


def test_without_waiting_each_would_read(cloud, stored, slow, monkeypatch):
    # The control.
    monkeypatch.setattr(read_through, "LONGEST_WAIT", 0.0)
    together(lambda: cloud.get_interaction_sync("i"))
    assert len(slow) > READERS / 2


def test_a_reader_that_died_with_the_lease_keeps_nobody_waiting_for_long(
    cloud, stored, slow, raw, clock
):
    raw.set(ID_KEY, b"T0123456789abcdef", px=600_000)
    assert cloud.get_interaction_sync("i").interaction_id == "i"
    waited = clock.monotonic() - READ_SECONDS
    assert READ_SECONDS < waited < 2 * READ_SECONDS  # as long as a read usually takes
    assert slow == ["i"]


def test_nobody_waits_longer_than_a_bound_however_slow_the_database_is(
    cloud, stored, raw, clock, monkeypatch
):
    monkeypatch.setattr(cloud.cache.through, "_usual_seconds", 9.0)
    raw.set(ID_KEY, b"T0123456789abcdef", px=600_000)
    cloud.get_interaction_sync("i")
    assert clock.monotonic() == pytest.approx(read_through.LONGEST_WAIT + READ_SECONDS)


def test_what_does_not_exist_keeps_nobody_waiting(cloud, clock):
    results, longest = together(lambda: cloud.get_interaction_sync("unknown"), clock)
    assert results == [None] * READERS
    assert longest < 4 * READ_SECONDS  # one waits for the first, then asks itself


def test_a_read_that_fails_fails_for_itself_and_leaves_no_lease(cloud, stored, raw, monkeypatch):
    def fail(interaction_id):
        raise StorageUnavailable

    with monkeypatch.context() as patched:
        patched.setattr(cloud.database, "_item", fail)
        results, _ = together(lambda: cloud.get_interaction_sync("i"))
        assert all(isinstance(result, StorageUnavailable) for result in results)
    assert raw.get(ID_KEY) is None
    assert cloud.get_interaction_sync("i").interaction_id == "i"
