"""Whatever Redis does: no exception, no waiting, nothing of it is believed or run."""

import contextlib
import os
import pickle
import signal
import threading
import time
from pathlib import Path

import pytest
import redis
from django_redis.cache import RedisCache
from redis.backoff import NoBackoff
from redis.connection import AbstractConnection, Connection
from redis.retry import Retry

from storage.cache import breaker
from storage.cache.breaker import CircuitBreaker
from storage.cache.keys import string_key
from storage.cache.redis import redis_cache
from storage.dynamodb import mirror
from storage.dynamodb.client import Client
from tests import clouds, servers
from tests.between import Between
from tests.certificates import certificate, context_of
from tests.clocks import Clock

LONGEST = 4
"""Waits of one call: two attempts, a health check of two within each when a connection is new."""


class Waits(threading.local):
    """How often this thread has asked Redis for something, and has waited for it in vain."""

    asked = 0
    in_vain = 0


waits = Waits()


@pytest.fixture(autouse=True)
def _counted(monkeypatch):
    """All that a connection waits for: seconds would tell of the machine as well."""

    def counted(function):
        def call(self, *arguments, **options):
            waits.asked += 1
            try:
                return function(self, *arguments, **options)
            except (TimeoutError, redis.exceptions.TimeoutError):
                waits.in_vain += 1
                raise

        return call

    for owner, name in ((Connection, "_connect"), (AbstractConnection, "read_response")):
        monkeypatch.setattr(owner, name, counted(getattr(owner, name)))


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    """The clock of the breakers."""
    held = Clock()
    monkeypatch.setattr(breaker, "time", held)
    return held


class Store:
    """`cache_get` and `cache_set` as CloudStorage has them, and how often each call waits.

    `last` and `longest` are how often a call has waited in vain, `asked` how often the last one
    has asked Redis at all.
    """

    def __init__(self, url, **changes):
        model = mirror.bound("unused", clouds.REGION, "http://127.0.0.1:1", 1)
        cache = clouds.make_cache(url, **changes)
        self.storage = clouds.storage_of(Client(model, 1), cache)
        self.longest = 0

    def get(self, key):
        return self._counted(lambda: self.storage.cache_get_sync(key))

    def set(self, key, value):
        self._counted(lambda: self.storage.cache_set_sync(key, value, 60))

    def _counted(self, call):
        asked, in_vain = waits.asked, waits.in_vain
        try:
            return call()
        finally:
            self.asked, self.last = waits.asked - asked, waits.in_vain - in_vain
            self.longest = max(self.longest, self.last)

    def wait_until_it_works(self, key="chat:ada:0"):
        """Until what is set is a hit."""
        while True:
            self.set(key, "back")
            if self.get(key) == "back":
                return
            time.sleep(0.02)

    def works_after(self, clock, seconds):
        """Whether Redis is asked again then, and no earlier; a busy one may not answer at once."""
        clock.passes(seconds - 0.1)
        self.get("chat:ada:0")
        too_early = self.asked
        for _ in range(1000):
            clock.passes(0.2 if not too_early else seconds)
            self.set("chat:ada:0", "back")
            if self.get("chat:ada:0") == "back":
                return not too_early
            time.sleep(0.02)
        return False


@pytest.fixture
def server():
    """A server that a test may kill. `restart` starts another at its port."""
    started = [servers.start_valkey()]
    port = started[0].port

    class Server:
        url = f"redis://127.0.0.1:{port}/0"

        def kill(self):
            started[-1].terminate()

        def restart(self):
            started.append(servers.start_valkey(port=port))

        def pause(self):
            os.kill(started[-1]._process.pid, signal.SIGSTOP)

        def go_on(self):
            os.kill(started[-1]._process.pid, signal.SIGCONT)

        def client(self, **options):
            return redis.Redis(port=port, **options)

    yield Server()
    for each in started:
        if each._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(each._process.pid, signal.SIGCONT)
        each.terminate()


@pytest.fixture
def store(server):
    made = Store(server.url)
    made.wait_until_it_works()
    made.longest = 0
    return made


def miss_until_the_breaker_opens(store):
    for _ in range(3):
        assert store.get("chat:ada:0") is None
        assert store.asked
    assert store.longest <= LONGEST


def test_a_wait_is_a_tenth_of_a_second():
    options = redis_cache("redis://h/0", max_connections=1)["OPTIONS"]
    assert options["SOCKET_TIMEOUT"] == options["SOCKET_CONNECT_TIMEOUT"] == 0.1


def test_a_killed_server_is_a_miss_and_soon_not_asked(server, store, clock):
    server.kill()
    miss_until_the_breaker_opens(store)
    for _ in range(20):
        assert store.get("chat:ada:0") is None
        assert store.asked == 0
        store.set("chat:ada:0", "v")
        assert store.asked == 0
    server.restart()
    assert store.works_after(clock, breaker.PAUSE)


def test_a_hung_server_is_a_miss_and_soon_not_asked(server, store, clock):
    server.pause()
    miss_until_the_breaker_opens(store)
    for _ in range(20):
        assert store.get("chat:ada:0") is None
        assert store.asked == 0
    server.go_on()
    assert store.works_after(clock, breaker.PAUSE)


def test_without_the_breaker_every_call_to_a_hung_server_waits(server, store, monkeypatch):
    # The control.
    monkeypatch.setattr(CircuitBreaker, "is_open", False)
    server.pause()
    for _ in range(5):
        assert store.get("chat:ada:0") is None
        assert store.last


def test_a_hung_server_holds_no_thread_longer_than_one_call(server, store):
    server.pause()
    stores = [store] * 12
    took = []

    def call():
        before = waits.in_vain
        assert store.get("chat:ada:0") is None
        took.append(waits.in_vain - before)

    threads = [threading.Thread(target=call) for _ in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(took) == len(stores)
    assert max(took) <= LONGEST


def test_with_another_attempt_a_new_connection_would_wait_longer(server):
    # The control: a health check has as many attempts, for each attempt of the call.
    server.pause()
    store = Store(server.url, retry=Retry(NoBackoff(), 2))
    assert store.get("chat:ada:0") is None
    assert store.longest > LONGEST


def test_a_restart_costs_no_call_although_the_pool_has_stale_connections(server):
    store = Store(server.url, **clouds.PATIENT)
    together = threading.Barrier(clouds.CONNECTIONS)

    def call():
        together.wait()
        for _ in range(20):
            store.get("chat:ada:0")

    threads = [threading.Thread(target=call) for _ in range(clouds.CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    server.kill()
    server.restart()
    client = server.client()
    client.set(string_key("chat:ada:0"), '"from before"')
    client.close()
    assert [store.get("chat:ada:0") for _ in range(20)] == ["from before"] * 20
    assert store.longest == 0


class Cutter(Between):
    """Between the store and Redis: cuts connections at the next `cuts` commands."""

    def __init__(self, server_port, tls=None):
        self.cuts = 0
        super().__init__(server_port, tls)
        self.url = f"redis://127.0.0.1:{self.port}/0"

    def passes(self, sent):
        is_cut = self.cuts > 0
        self.cuts -= is_cut
        return not is_cut


@pytest.fixture
def cutter(valkey_server):
    made = Cutter(valkey_server.port)
    yield made
    made.close()


def test_a_connection_that_breaks_costs_no_call(cutter):
    store = Store(cutter.url, **clouds.PATIENT)
    store.set("chat:ada:0", "v")
    cutter.cuts = 1
    assert store.get("chat:ada:0") == "v"
    assert cutter.cuts == 0
    assert store.longest == 0


def test_without_another_attempt_a_connection_that_breaks_costs_a_call(cutter):
    # The control.
    store = Store(cutter.url, retry=Retry(NoBackoff(), 0), retry_on_error=[])
    store.set("chat:ada:0", "v")
    cutter.cuts = 1
    assert store.get("chat:ada:0") is None


class Harmful:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def poison(path):
    return {
        "pickle": pickle.dumps(Harmful(path)),
        "half of JSON": b'{"a":',
        "no UTF-8": b"\xff",
        "nothing": b"",
        "a long number": b"9" * 5000,
        "deep": b"[" * 100_000,
        "a number": b"5",
        "an object": b'{"a": 1}',
        "a list": b'["v"]',
        "null": b"null",
        "true": b"true",
        "infinity": b"1e999999",
        "NaN": b"NaN",
        "two values": b'"a" "b"',
        "half a surrogate": b'"\\ud800',
    }


@pytest.mark.parametrize("name", poison(None))
def test_a_poisoned_value_is_a_miss_and_runs_nothing(valkey_server, tmp_path, name):
    store = Store(f"redis://127.0.0.1:{valkey_server.port}/0", **clouds.PATIENT)
    touched = tmp_path / "touched"
    with redis.Redis(port=valkey_server.port) as client:
        client.set(string_key("chat:ada:poison"), poison(touched)[name])
    for _ in range(4):  # it does not open the breaker either
        assert store.get("chat:ada:poison") is None
    assert not touched.exists()
    store.set("chat:ada:poison", "v")
    assert store.get("chat:ada:poison") == "v"


def test_with_pickle_it_would_have_run(valkey_server, tmp_path):
    # The control: django-redis's default.
    touched = tmp_path / "touched"
    with redis.Redis(port=valkey_server.port) as client:
        client.set("chat:ada:poison", poison(touched)["pickle"])
    parameters = redis_cache(f"redis://127.0.0.1:{valkey_server.port}/0", max_connections=1)
    del parameters["OPTIONS"]["SERIALIZER"]
    cache = RedisCache(parameters["LOCATION"], parameters)
    with contextlib.suppress(Exception):
        cache.get("chat:ada:poison")
    assert touched.exists()


@pytest.mark.parametrize("value", [b"a list", b"a hash"])
def test_a_key_of_another_type_is_a_miss(valkey_server, value):
    store = Store(f"redis://127.0.0.1:{valkey_server.port}/0", **clouds.PATIENT)
    with redis.Redis(port=valkey_server.port) as client:
        key = string_key("chat:ada:type")
        client.delete(key)
        if value == b"a list":
            client.rpush(key, "v")
        else:
            client.hset(key, "k", "v")
    assert store.get("chat:ada:type") is None


def test_nothing_of_what_is_cached_is_logged(server, store, caplog):
    caplog.set_level("DEBUG")
    store.set("chat:a-user:0", "the-text-of-a-user")
    with server.client() as client:
        client.set(string_key("chat:a-user:1"), b'{"the-text-of-a-user')
    store.get("chat:a-user:1")
    server.kill()
    for _ in range(4):
        store.set("chat:a-user:0", "the-text-of-a-user")
    assert "The cache did not answer" in caplog.text
    assert "cannot be read" in caplog.text
    assert "a-user" not in caplog.text


# Users with few rights.


@pytest.fixture
def limited(server):
    """The URL of a user who may read and write keys of the application, and nothing else."""
    with server.client() as client:
        client.acl_setuser(
            "chat",
            enabled=True,
            passwords=["+secret"],
            keys=["chat:*"],
            reset=True,
            commands=["+get", "+set"],
        )
    return server.url.replace("redis://", "redis://chat:secret@")


def test_a_user_who_may_only_get_and_set_keys_of_chat_is_enough(limited):
    store = Store(limited, **clouds.PATIENT)
    store.set("chat:ada:0", "v")
    assert store.get("chat:ada:0") == "v"


def test_that_user_may_do_no_more(limited):
    # The control.
    with redis.Redis.from_url(limited) as client:
        for refused in (lambda: client.get("other"), client.flushdb, lambda: client.keys("*")):
            with pytest.raises(redis.exceptions.NoPermissionError):
                refused()


@pytest.mark.parametrize("wrong", ["chat:wrong@", "nobody:secret@"])
def test_a_wrong_password_is_a_miss(server, limited, wrong, caplog):
    store = Store(server.url.replace("redis://", f"redis://{wrong}"))
    store.set("chat:ada:0", "v")
    assert store.get("chat:ada:0") is None
    assert "AuthenticationError" in caplog.text
    assert "wrong" not in caplog.text


# TLS, which the server of the tests has not: it is added in front of it.


@pytest.fixture
def tls_url(valkey_server, tmp_path):
    made = Cutter(valkey_server.port, context_of(certificate("127.0.0.1"), tmp_path))
    yield made.url.replace("redis://", "rediss://")
    made.close()


def test_a_server_with_tls_is_used_if_its_certificate_is_trusted(tls_url, tmp_path):
    store = Store(f"{tls_url}?ssl_ca_certs={tmp_path / 'server.pem'}", **clouds.PATIENT)
    store.set("chat:ada:tls", "v")
    assert store.get("chat:ada:tls") == "v"


def test_a_server_whose_certificate_is_not_trusted_is_a_miss(tls_url):
    store = Store(tls_url)
    store.set("chat:ada:untrusted", "v")
    assert store.get("chat:ada:untrusted") is None


# A cluster.


@pytest.fixture(scope="module", autouse=True)
def make_cluster():
    with servers.clusters(node_timeout=2000) as make:
        yield make


@pytest.fixture
def cluster(make_cluster):
    started = make_cluster()
    yield started
    started.stop()


KEYS = [f"chat:ada:{number}" for number in range(30)]


def test_a_killed_node_of_three_costs_its_own_keys_only(cluster, clock):
    store = Store(cluster.url)
    for key in KEYS:
        store.set(key, key)
    assert [store.get(key) for key in KEYS] == KEYS
    with redis.Redis(port=cluster.ports[1]) as client:
        held = {key.decode() for key in client.keys("chat:ada:*")}
    gone = {key for key in KEYS if string_key(key) in held}
    assert 0 < len(gone) < len(KEYS)
    cluster.nodes[1].terminate()
    store.longest = 0
    while True:
        found = {key for key in KEYS if store.get(key) == key}
        assert not found & gone
        if found == set(KEYS) - gone:
            break
        time.sleep(0.1)
        clock.passes(0.1)
    print(f"The longest call has waited {store.longest} times.")


def test_a_cluster_that_is_gone_is_a_miss(cluster):
    store = Store(cluster.url)
    store.set("chat:ada:0", "v")
    cluster.stop()
    for _ in range(3):
        assert store.get("chat:ada:0") is None
    print(f"The longest call has waited {store.longest} times.")
    assert store.get("chat:ada:0") is None
    assert store.asked == 0
