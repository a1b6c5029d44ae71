"""A store behind a proxy that fails, and in a hurry."""

import threading
import time

import pytest
from botocore.retries import standard
from botocore.retries.quota import RetryQuota
from django.core.cache.backends.dummy import DummyCache

from storage.dynamodb import mirror, pauses
from storage.dynamodb.client import Client
from tests import clouds
from tests.system.faults.proxy import Proxy

READ_SECONDS = 0.5
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
def hurry(monkeypatch):
    """Short pauses between attempts; and no test uses up the attempts of another."""
    monkeypatch.setattr(standard.ExponentialBackoff, "delay_amount", lambda *arguments: 0.01)
    monkeypatch.setattr(RetryQuota, "acquire", lambda *arguments: True)
    monkeypatch.setattr(pauses, "SECONDS", 3 * READ_SECONDS)


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
def storage(hurry, behind, proxy, _impatient_model):
    """A store behind the proxy."""
    made = behind(_impatient_model)
    proxy.calm()
    return made


@pytest.fixture
def patient_storage(behind, proxy):
    """A store behind the proxy with the timeouts and pauses that it has in production."""
    model = mirror.bound("unused", clouds.REGION, proxy.url, clouds.CONNECTIONS)
    made = behind(model)
    made.get_interaction_sync("unknown")  # makes the connection
    proxy.calm()
    return made


@pytest.fixture
def direct(storage, dynamodb_model):
    """The same table, past the proxy: what is really there."""
    client = Client(dynamodb_model, clouds.CONNECTIONS)
    client.table = storage.database.client.table
    return clouds.storage_of(client, DummyCache("", {}))


@pytest.fixture
def timed():
    """Calls a function; gives its result, or its exception, and the seconds it took."""

    def call(function, *arguments):
        start = time.monotonic()
        try:
            result = function(*arguments)
        except Exception as error:
            result = error
        return result, time.monotonic() - start

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
        thread.join(30)
