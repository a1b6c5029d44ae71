"""A DynamoDB that hangs holds the threads that wait for it, and no others."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from queue import Empty, SimpleQueue

import pytest
from botocore.exceptions import ReadTimeoutError
from django.core.cache.backends.dummy import DummyCache

from storage.dynamodb import client
from storage.dynamodb.client import Client
from storage.exceptions import StorageUnavailable
from tests import clouds
from tests.chat.calls import INTERACTIONS
from tests.chat.processes import Server, run
from tests.servers import wait_for
from tests.system.faults import proxy as faults

THREADS = 8
CALLS = 20


class Turns:
    """The turns of a client's calls. Counts those who wait for one in vain."""

    def __init__(self, number):
        self._turns = SimpleQueue()
        for _ in range(number):
            self._turns.put(None)
        self.in_vain = 0

    def get(self, timeout):
        try:
            self._turns.get(timeout=timeout)
        except Empty:
            self.in_vain += bool(timeout)
            raise

    def put(self, turn):
        self._turns.put(turn)


class Hung:
    """A store whose DynamoDB hangs until `released`, and threads that use it."""

    def __init__(self, storage, concurrency):
        self.turns = storage.database.client._turns = Turns(concurrency)
        self.released = threading.Event()
        self.hanging = 0
        self._storage = storage
        storage.database.client._send = self._hang

    def _hang(self, operation, parameters):
        self.hanging += 1
        self.released.wait()
        raise ReadTimeoutError(endpoint_url="of a test")

    def use(self, threads, concurrency):
        """Calls that wait for DynamoDB, and other work behind them."""
        calls = [threads.submit(self._storage.get_interaction_sync, "i") for _ in range(CALLS)]
        while self.hanging < concurrency:
            time.sleep(0.01)
        return calls, [threads.submit(time.sleep, 0.001) for _ in range(50)]


@contextmanager
def hung(storage, concurrency):
    hanging = Hung(storage, concurrency)
    with ThreadPoolExecutor(THREADS) as threads:
        try:
            calls, others = hanging.use(threads, concurrency)
            yield hanging, calls, others
        finally:
            hanging.released.set()
        assert all(isinstance(each.exception(), StorageUnavailable) for each in calls)


@pytest.fixture
def short_waits(monkeypatch):
    """Who waits for a turn in vain does so for a third of a second, and not for two."""
    monkeypatch.setattr(client, "WAIT_SECONDS", 0.3)


@pytest.mark.usefixtures("short_waits")
def test_other_work_goes_on_while_dynamodb_hangs(storage):
    with hung(storage, 6) as (hanging, calls, others):
        wait(others)
        assert sum(not each.done() for each in calls) == 6, "they wait still"
        assert hanging.turns.in_vain <= THREADS - 6, "then nobody waits for a turn any more"


def test_without_a_limit_on_calls_other_work_waits_for_dynamodb(storage):
    # The control.
    with hung(storage, THREADS) as (_, _, others):
        assert not wait(others, timeout=0.2).done


class NeverStalled(Client):
    _stalled = property(lambda self: False, lambda self, value: None)


@pytest.mark.usefixtures("short_waits")
def test_if_every_call_waited_for_its_turn_other_work_would_wait_for_all_of_them(storage):
    # The control.
    storage.database.client.__class__ = NeverStalled
    with hung(storage, 6) as (hanging, _, others):
        wait(others)
        assert hanging.turns.in_vain > THREADS - 6


def test_a_call_waits_again_as_soon_as_one_under_way_has_ended(storage, proxy, in_threads):
    storage.database.client._turns = Turns(1)
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
    assert storage.database.client._turns.qsize() == 6


@pytest.fixture
def server(tmp_path, dynamodb_model, proxy):
    """A real server in production, whose DynamoDB is behind the proxy; and its API key."""
    table = clouds.make_storage(dynamodb_model, DummyCache("", {})).database.client.table
    values = {
        "ENVIRONMENT": "production",
        "SECRET_KEY": "a secret key that is long enough for these tests",
        "AWS_REGION": clouds.REGION,
        "DYNAMODB_ENDPOINT_URL": proxy.url,
        "DYNAMODB_TABLE": table,
        "DJANGO_SETTINGS_MODULE": "tests.system.faults.patient_settings",
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


def test_a_real_server_is_alive_all_the_time_that_dynamodb_hangs(server, proxy, in_threads):
    started, key = server
    headers = {"Authorization": f"Api-Key {key}", "X-Forwarded-Proto": "https"}
    assert started.request("GET", INTERACTIONS, headers=headers)[0] == 200
    proxy.calm()
    proxy.always("*", faults.hang)
    statuses = []

    def use_the_api():
        statuses.append(started.request("GET", INTERACTIONS, headers=headers)[0])

    threads = in_threads(*[use_the_api] * 20)
    wait_for(lambda: proxy.attempts["Query"], "a list that hangs")
    for _ in range(50):  # meanwhile the others begin to wait as well
        assert started.request("GET", "/healthz")[0] == 200
    assert statuses == []
    proxy.released.set()
    for thread in threads:
        thread.join()
    assert statuses == [503] * 20
    proxy.calm()
    while started.request("GET", INTERACTIONS, headers=headers)[0] != 200:
        time.sleep(0.1)
