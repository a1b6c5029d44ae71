"""A store behind a proxy that fails, and in a hurry."""

import threading

import pytest
from botocore import endpoint
from botocore.retries import standard
from botocore.retries.quota import RetryQuota
from django.core.cache.backends.dummy import DummyCache

from storage.cache import breaker
from storage.dynamodb import curl, mirror, pauses, transport
from storage.dynamodb.client import Client
from tests import clouds
from tests.clocks import Clock
from tests.system.faults.proxy import Proxy

READ_SECONDS = 1.0
"""A hung server costs a call three times as much."""


@pytest.fixture(scope="session")
def _open_proxy(dynamodb_server):
    return Proxy(dynamodb_server.port)


@pytest.fixture
def proxy(_open_proxy):
    """The proxy, with no faults yet."""
    _open_proxy.calm()
    yield _open_proxy
    _open_proxy.calm()


@pytest.fixture(scope="session")
def _impatient_model(_open_proxy):
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(mirror, "READ_SECONDS", READ_SECONDS)
        return mirror.bound("unused", clouds.REGION, _open_proxy.url, clouds.CONNECTIONS)


@pytest.fixture
def clock(monkeypatch):
    """The clock of pauses and breakers. Pauses and what hangs take time by it, and nothing else."""
    clock = Clock()
    for module in (endpoint, transport, pauses, breaker):
        monkeypatch.setattr(module, "time", clock)
    return clock


@pytest.fixture
def hurry(monkeypatch):
    """Short pauses between attempts; and no test uses up the attempts of another."""
    monkeypatch.setattr(standard.ExponentialBackoff, "delay_amount", lambda *arguments: 0.01)
    monkeypatch.setattr(RetryQuota, "acquire", lambda *arguments: True)
    monkeypatch.setattr(pauses, "SECONDS", 1.5)


@pytest.fixture
def behind(dynamodb_model):
    """Makes a store that reaches a new table through the given model's connection."""

    def make(model, client_class=Client):
        direct = clouds.make_storage(dynamodb_model, DummyCache("", {}))
        client = client_class(model, clouds.CONNECTIONS)
        client.table = direct.database.client.table
        return clouds.storage_of(client, DummyCache("", {}))

    return make


@pytest.fixture
def storage(clock, hurry, behind, proxy, _impatient_model):
    """A store behind the proxy."""
    made = behind(_impatient_model)
    proxy.calm()
    proxy.clock, proxy.patience = clock, READ_SECONDS
    return made


@pytest.fixture
def hasty_storage(clock, behind, proxy):
    """A store behind a proxy that hangs: only the clock waits as long as in production.

    Nothing but a fault may answer it, since a busy machine may take longer than it waits.
    """
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(mirror, "READ_SECONDS", 0.3)
        model = mirror.bound("unused", clouds.REGION, proxy.url, clouds.CONNECTIONS)
    made = behind(model)
    proxy.calm()
    proxy.clock, proxy.patience = clock, curl.IN_ALL * mirror.READ_SECONDS
    return made


@pytest.fixture
def patient_storage(clock, behind, proxy):
    """A store behind the proxy with the timeouts and pauses that it has in production."""
    model = mirror.bound("unused", clouds.REGION, proxy.url, clouds.CONNECTIONS)
    made = behind(model)
    made.get_interaction_sync("unknown")  # makes the connection
    proxy.calm()
    proxy.clock, proxy.patience = clock, mirror.READ_SECONDS
    return made


@pytest.fixture
def direct(storage, dynamodb_model):
    """The same table, past the proxy: what is really there."""
    client = Client(dynamodb_model, clouds.CONNECTIONS)
    client.table = storage.database.client.table
    return clouds.storage_of(client, DummyCache("", {}))


@pytest.fixture
def timed(clock):
    """Calls a function; gives its result, or its exception, and the seconds that it waited."""

    def call(function, *arguments):
        start = clock.steady
        try:
            result = function(*arguments)
        except Exception as error:
            result = error
        return result, clock.steady - start

    return call


@pytest.fixture
def in_threads():
    """Starts functions in threads of their own; all have ended when the test has."""
    threads = []

    def start(*functions):
        started = [threading.Thread(target=function) for function in functions]
        threads.extend(started)
        for thread in started:
            thread.start()
        return started

    yield start
    for thread in threads:
        thread.join(300)
