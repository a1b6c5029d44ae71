"""Servers in use while Redis Cluster moves its slots, and while others fill Redis over its memory:
no request fails, and nothing that has been changed is shown again.
"""

import contextlib
import threading
from itertools import cycle

import pytest
import redis
from django.core.cache.backends.dummy import DummyCache
from redis.crc import key_slot

from tests import clouds, servers, switches
from tests.chat.processes import Server, run
from tests.system.reliability.mixed_load import Load

SECONDS = switches.number("CACHE_OUTAGE_SECONDS")
MEMORY = 6 * 1024 * 1024
"""Of which an empty server uses about a third."""

FILLING = 20 * 1024
TIMES = 5
SECRET = "a secret key that is long enough for these tests"

pytestmark = [pytest.mark.exhaustive, pytest.mark.timeout(SECONDS + 600)]


class Cluster:
    """Three nodes, whose slots move from one to the next."""

    def __init__(self, cluster):
        self._nodes = cluster.clients()
        self._names = [node.execute_command("CLUSTER", "MYID").decode() for node in self._nodes]
        self.slots = self.keys = 0
        """What was moved."""

    def move(self, seconds):
        """Move the slots that have keys, one after the other, round and round."""
        done = threading.Event()
        timer = threading.Timer(seconds, done.set)
        timer.start()
        for number in cycle(range(len(self._nodes))):
            for slot in sorted({key_slot(key) for key in self._nodes[number].scan_iter()}):
                if not done.is_set():
                    self._move(slot, number, (number + 1) % len(self._nodes))
            if done.is_set():
                return

    def _move(self, slot, source, target):
        nodes, names = self._nodes, self._names
        nodes[target].execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", names[source])
        nodes[source].execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", names[target])
        port = nodes[target].get_connection_kwargs()["port"]
        while keys := nodes[source].execute_command("CLUSTER", "GETKEYSINSLOT", slot, 1):
            for key in keys:
                done = nodes[source].execute_command("MIGRATE", "127.0.0.1", port, key, 0, 10_000)
                self.keys += done == b"OK"
        for number in (target, source, *range(len(nodes))):
            nodes[number].execute_command("CLUSTER", "SETSLOT", slot, "NODE", names[target])
        self.slots += 1


@pytest.fixture
def table(dynamodb_model):
    return clouds.make_storage(dynamodb_model, DummyCache("", {})).database.client.table


@pytest.fixture
def load(tmp_path, table, dynamodb_server):
    """Two servers with a Redis; begins their load, and gives its calls when it ends."""
    started = []

    @contextlib.contextmanager
    def begin(url):
        values = {
            "ENVIRONMENT": "production",
            "SECRET_KEY": SECRET,
            "HTTPS": "false",
            "AWS_REGION": clouds.REGION,
            "DYNAMODB_ENDPOINT_URL": dynamodb_server.url,
            "DYNAMODB_TABLE": table,
            "REDIS_URL": url,
            "CACHE_TTL": "300",
        }
        for words in (["migrate"], ["create_api_key", "test"]):
            made = run(tmp_path, *words, **values)
            assert made.returncode == 0, made.stderr
        started.extend(Server(tmp_path, **values) for _ in range(2))
        ports = [server.wait_until_it_answers().port for server in started]
        clients = Load(made.stdout.decode().split()[-1], ports, tmp_path / "load.txt")
        calls = []
        try:
            clients.start()
            yield calls
            calls += clients.end()[0]
        finally:
            clients.kill()

    yield begin
    for server in started:
        server.stop()


def judge(calls):
    """Every answer was right, and the newest."""
    assert {call.kind for call in calls} >= {"read", "complete", "create", "delete"}
    assert [call for call in calls if call.result != "ok"][:5] == []


def test_slots_move_and_nothing_fails_or_is_out_of_date(load):
    cluster = servers.ValkeyCluster()
    try:
        moving = Cluster(cluster)
        with load(cluster.url) as calls:
            moving.move(SECONDS)
        hits = sum(node.info("stats")["keyspace_hits"] for node in cluster.clients())
    finally:
        cluster.stop()
    print(f"{moving.slots} slots and {moving.keys} keys moved, {len(calls)} calls, {hits} hits")
    judge(calls)
    assert min(moving.slots, moving.keys, hits) > 20


@pytest.mark.parametrize("policy", ["allkeys-lru", "noeviction"])
def test_a_full_redis_fails_nothing_and_shows_nothing_out_of_date(load, policy):
    server = servers.start_valkey(maxmemory=str(MEMORY))
    refused = 0
    try:
        with (
            redis.Redis(port=server.port) as other,
            load(f"redis://127.0.0.1:{server.port}/0") as calls,
        ):
            # Servers refuse to start with `noeviction`, so somebody changes it later.
            other.config_set("maxmemory-policy", policy)
            for number in range(TIMES * MEMORY // FILLING):
                try:
                    other.set(f"filling:{number}", b"x" * FILLING)
                except redis.exceptions.OutOfMemoryError:
                    refused += 1
                threading.Event().wait(SECONDS / (TIMES * MEMORY // FILLING))
            stats, memory = other.info("stats"), other.info("memory")
    finally:
        server.terminate()
    print(f"{policy}: {stats['evicted_keys']} evicted, {refused} refused, {len(calls)} calls")
    judge(calls)
    assert (refused if policy == "noeviction" else stats["evicted_keys"]) > 100
    assert memory["used_memory"] <= MEMORY * 1.1
