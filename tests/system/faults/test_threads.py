"""A DynamoDB that hangs holds the threads that wait for it, and no others."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.core.cache.backends.dummy import DummyCache

from storage.dynamodb.client import Client
from storage.exceptions import StorageUnavailable
from tests import clouds
from tests.chat.calls import INTERACTIONS
from tests.chat.processes import Server, run
from tests.system.faults import proxy as faults

THREADS = 8
CALLS = 20


def seconds_of_other_work(storage, proxy):
    """How long other work takes on threads of which as many as can are waiting for DynamoDB."""
    proxy.always("*", faults.hang)
    with ThreadPoolExecutor(THREADS) as threads:
        waiting = [threads.submit(storage.get_interaction_sync, "i") for _ in range(CALLS)]
        end = time.monotonic() + 5
        while proxy.attempts.total() < storage.concurrency and time.monotonic() < end:
            time.sleep(0.01)
        start = time.monotonic()
        for other in [threads.submit(time.sleep, 0.001) for _ in range(50)]:
            other.result()
        seconds = time.monotonic() - start
        assert all(isinstance(each.exception(), StorageUnavailable) for each in waiting)
    return seconds


@pytest.fixture
def with_concurrency(storage):
    def make(number):
        storage.concurrency = number
        storage.database.client._turns = threading.BoundedSemaphore(number)
        return storage

    return make


def test_other_work_goes_on_while_dynamodb_hangs(with_concurrency, proxy):
    # 0.5 s is what the seventh and the eighth call wait for their turns.
    assert seconds_of_other_work(with_concurrency(6), proxy) < 0.9


def test_without_a_limit_on_calls_other_work_waits_for_dynamodb(with_concurrency, proxy):
    assert seconds_of_other_work(with_concurrency(THREADS), proxy) > 1


class NeverStalled(Client):
    _stalled = property(lambda self: False, lambda self, value: None)


def test_if_every_call_waited_for_its_turn_other_work_would_wait_for_all_of_them(
    with_concurrency, proxy
):
    storage = with_concurrency(6)
    storage.database.client.__class__ = NeverStalled
    assert seconds_of_other_work(storage, proxy) > 1


def test_a_call_waits_again_as_soon_as_one_under_way_has_ended(storage, proxy, in_threads):
    storage.database.client._turns = threading.BoundedSemaphore(1)
    proxy.fail("GetItem", faults.late(0.3), faults.late(0.3), faults.late(0.1))
    results = []
    storage.database.client._stalled = True
    storage.get_interaction_sync("i")

    def call():
        results.append(storage.get_interaction_sync("i"))

    for thread in in_threads(call, call):
        thread.join()
    assert results == [None, None]


def test_a_turn_is_given_back_whatever_happens(storage, proxy):
    for fault in (faults.cut, faults.fail_before, faults.throttle, faults.forward):
        proxy.always("*", fault)
        for _ in range(10):
            try:
                storage.get_interaction_sync("i")
            except StorageUnavailable:
                storage.database.client._breaker.succeeded()
    turns = storage.database.client._turns
    assert [turns.acquire(blocking=False) for _ in range(7)] == [True] * 6 + [False]


@pytest.fixture
def server(tmp_path, dynamodb_model, proxy):
    """A real server in production, whose DynamoDB is behind the proxy; and its API key."""
    table = clouds.make_storage(dynamodb_model, DummyCache("", {})).database.client.table
    values = {
        "ENVIRONMENT": "production",
        "SECRET_KEY": "of these tests",
        "AWS_REGION": clouds.REGION,
        "DYNAMODB_ENDPOINT_URL": proxy.url,
        "DYNAMODB_TABLE": table,
    }
    started = Server(tmp_path, **values)
    try:
        started.wait_until_it_answers()
        made = run(tmp_path, "create_api_key", "test", **values)
        assert made.returncode == 0, made.stderr
        yield started, made.stdout.decode().split()[-1]
    finally:
        proxy.calm()
        started.stop()


def test_a_real_server_is_alive_all_the_time_that_dynamodb_hangs(server, proxy):
    started, key = server
    headers = {"Authorization": f"Api-Key {key}", "X-Forwarded-Proto": "https"}
    assert started.request("GET", INTERACTIONS, headers=headers)[0] == 200
    proxy.always("*", faults.hang)
    end = time.monotonic() + 5
    statuses, health = [], []

    def use_the_api():
        while time.monotonic() < end:
            statuses.append(started.request("GET", INTERACTIONS, headers=headers)[0])

    def look_after_it():
        while time.monotonic() < end:
            start = time.monotonic()
            status, _, _ = started.request("GET", "/healthz")
            health.append((status, time.monotonic() - start))
            time.sleep(0.02)

    threads = [threading.Thread(target=use_the_api) for _ in range(20)]
    threads.append(threading.Thread(target=look_after_it))
    for thread in threads:
        thread.start()
    threads[-1].join()
    proxy.released.set()
    for thread in threads:
        thread.join()
    assert set(statuses) == {503}
    assert len(health) > 10
    assert {status for status, _ in health} == {200}
    assert max(seconds for _, seconds in health) < 1
    proxy.calm()
    time.sleep(2)
    assert started.request("GET", INTERACTIONS, headers=headers)[0] == 200
