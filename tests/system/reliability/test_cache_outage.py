"""Redis is killed, hangs and restarts while four servers are in use: no request fails, and nothing
is shown for longer than CACHE_TTL that is no longer so.

    CACHE_OUTAGE_SECONDS=600 python -m pytest -s tests/system/reliability/test_cache_outage.py

How long answers take is printed and not asserted, since other tests may run meanwhile.
"""

import contextlib
import json
import math
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import pytest
import redis
from django.core.cache.backends.dummy import DummyCache
from redis.backoff import NoBackoff
from redis.retry import Retry

from storage.cache import keys
from tests import clouds, servers, switches
from tests.chat.calls import INTERACTIONS, new, one
from tests.chat.processes import Server, run
from tests.system.reliability.mixed_load import Call, Load, Row, Seen, judge

SECONDS = switches.number("CACHE_OUTAGE_SECONDS")
STARTS_AND_RETURNS = 13
"""Seconds that are not spent in phases: servers start, breakers close again."""

PHASE_SECONDS = max(1.0, (SECONDS - STARTS_AND_RETURNS) / 7)
CACHE_TTL = math.ceil(2 * PHASE_SECONDS)
"""Longer than an outage, so that what was cached before it is still there after it."""

BETWEEN_RESTARTS = 1.0
SERVERS = 4 if switches.is_set("CACHE_OUTAGE_SECONDS") else 2
FAILED = ("failed", "wrong")
MARKER = "from the cache"


@dataclass
class Phase:
    """A part of the run, from `start` to `end` by `time.monotonic`."""

    name: str
    start: float = 0.0
    end: float = 0.0
    busy: float = 0.0
    """Which part of the machine's CPU time was used, by whatever runs on it."""


class Redis:
    """A Redis server that a test may kill, stop and restart at its port, which stays its own."""

    def __init__(self):
        self._reserved = socket.socket()
        self._reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._reserved.bind(("127.0.0.1", 0))
        self.port = self._reserved.getsockname()[1]
        self._server = servers.start_valkey(port=self.port)
        self.url = f"redis://127.0.0.1:{self.port}/0"

    def client(self, seconds=10):
        times = {"socket_timeout": seconds, "socket_connect_timeout": seconds}
        return redis.Redis(port=self.port, retry=Retry(NoBackoff(), 0), **times)

    def answers(self):
        with self.client(seconds=0.3) as client, contextlib.suppress(redis.RedisError):
            return client.ping()
        return False

    def number(self):
        """Another one after each start."""
        with self.client() as client:
            return client.info("server")["run_id"]

    def kill(self):
        self._server.terminate()

    def start(self):
        self._server.start(servers.START_SECONDS)

    def hang(self):
        self._server._process.send_signal(signal.SIGSTOP)

    def go_on(self):
        self._server._process.send_signal(signal.SIGCONT)

    def restart(self):
        """Cleanly: it comes back with all that it held."""
        with self.client() as client:
            client.shutdown(save=True)
        self._server.stop()
        self.start()

    def close(self):
        if self._server._process is not None:
            self.go_on()
        self._server.terminate()
        self._reserved.close()


class Run:
    """Servers under load, and what was done to Redis when."""

    def __init__(self, cache, api, key):
        self._cache, self._api = cache, api
        self._headers = {"Authorization": f"Api-Key {key}", "Content-Type": "application/json"}
        made = self._call(api[0], "POST", INTERACTIONS, new(response="From the table."))
        self._canary = made["interaction_id"]
        self.phases = []

    def _call(self, server, method, path, value=None):
        body = None if value is None else json.dumps(value)
        status, _, answer = server.request(method, path, body, self._headers)
        assert status in (200, 201), answer
        return json.loads(answer)

    @contextlib.contextmanager
    def phase(self, name):
        busy = _busy_ticks()
        phase = Phase(name, time.monotonic())
        yield
        phase.end = time.monotonic()
        used, total = (b - a for a, b in zip(busy, _busy_ticks(), strict=True))
        phase.busy = used / max(1, total)
        self.phases.append(phase)

    def healthy(self):
        """Use the cache for a while, all servers to its end."""
        with self.phase("healthy"):
            time.sleep(PHASE_SECONDS)
            self.wait_until_used()

    def away(self, name, begin, end):
        """Redis does not answer for a while."""
        with self.phase(name):
            begin()
            assert not self._cache.answers()
            time.sleep(PHASE_SECONDS)
            assert not self._cache.answers()
            end()
        servers.wait_for(self._cache.answers, "an answer of Redis")
        with self.phase(f"after {name}"):
            self.wait_until_used()

    def restarted(self):
        """Again and again Redis is away for the moment of a restart."""
        with self.phase("restarted"):
            end = time.monotonic() + PHASE_SECONDS
            while time.monotonic() < end:
                before = self._cache.number()
                self._cache.restart()
                assert self._cache.number() != before
                time.sleep(BETWEEN_RESTARTS)
        with self.phase("after restarted"):
            self.wait_until_used()

    def wait_until_used(self):
        """Until every server shows what only Redis has."""
        key = keys.interaction_key(self._canary)
        planted = self._read_canary(self._api[0]) | {"response": MARKER}
        with self._cache.client() as client:
            client.set(key, b"V" + json.dumps(planted).encode())
            servers.wait_for(self._all_use_it, "that all servers use the cache")
            client.delete(key)

    def _all_use_it(self):
        return all(self._read_canary(server)["response"] == MARKER for server in self._api)

    def _read_canary(self, server):
        return self._call(server, "GET", one(self._canary))


def _busy_ticks():
    """CPU time that was used on this machine, and all there was."""
    ticks = [int(word) for word in Path("/proc/stat").read_text().split("\n")[0].split()[1:9]]
    return sum(ticks) - ticks[3] - ticks[4], sum(ticks)


@pytest.fixture
def cache():
    made = Redis()
    yield made
    made.close()


@pytest.fixture
def table(dynamodb_model):
    return clouds.make_storage(dynamodb_model, DummyCache("", {})).database.client.table


@pytest.fixture
def settings_of_servers(table, dynamodb_server, cache):
    return {
        "ENVIRONMENT": "production",
        "SECRET_KEY": "a secret key that is long enough for these tests",
        "HTTPS": "false",
        "AWS_REGION": clouds.REGION,
        "DYNAMODB_ENDPOINT_URL": dynamodb_server.url,
        "DYNAMODB_TABLE": table,
        "REDIS_URL": cache.url,
        "CACHE_TTL": str(CACHE_TTL),
    }


@pytest.fixture
def start(tmp_path, settings_of_servers):
    """Starts servers of one process each: what each knows of Redis is its own."""
    started = []

    def start(count, **settings):
        new = [Server(tmp_path, **settings_of_servers | settings) for _ in range(count)]
        started.extend(new)
        for server in new:
            server.wait_until_it_answers()
        return new

    yield start
    with ThreadPoolExecutor(SERVERS) as threads:
        list(threads.map(Server.stop, started))


@pytest.fixture
def api(start):
    return start(SERVERS)


@pytest.fixture
def key(tmp_path, settings_of_servers):
    made = run(tmp_path, "migrate", **settings_of_servers)
    assert made.returncode == 0, made.stderr
    made = run(tmp_path, "create_api_key", "test", **settings_of_servers)
    assert made.returncode == 0, made.stderr
    return made.stdout.decode().split()[-1]


@pytest.fixture
def load(tmp_path, api, key):
    made = Load(key, [server.port for server in api], tmp_path / "load.txt")
    yield made
    made.kill()


@pytest.mark.exhaustive  # faults/test_cells_after_outage.py has each fault
@pytest.mark.timeout(SECONDS + 240)
def test_whatever_redis_does_no_request_fails_and_nothing_stays_stale(cache, api, key, load):
    done = Run(cache, api, key)
    with cache.client() as client:
        client.flushall()  # what has just been written is not cached at first
    load.start()
    with done.phase("start"):
        done.wait_until_used()
    done.healthy()
    done.away("killed", cache.kill, cache.start)
    done.healthy()
    done.away("hung", cache.hang, cache.go_on)
    done.healthy()
    done.restarted()
    done.healthy()
    calls, has_lookup = load.end()
    report(calls, done.phases, has_lookup)
    for phase in done.phases:
        if phase.name in ("healthy", "killed", "hung"):
            assert in_phase(calls, phase), f"no calls while {phase.name}"
    assert {call.kind for call in calls} >= {"read", "complete", "create", "delete"}
    assert [call for call in calls if call.result in FAILED][:10] == []
    assert [call for call in calls if call.age > CACHE_TTL][:10] == []


def test_what_a_server_could_not_tell_redis_outlives_the_server(cache, start, key):
    stopped, killed, stays = start(3, CACHE_TTL="300")

    def call(server, method, path, value=None):
        body = None if value is None else json.dumps(value)
        headers = {"Authorization": f"Api-Key {key}", "Content-Type": "application/json"}
        status, _, answer = server.request(method, path, body, headers)
        return status, json.loads(answer) if answer else None

    def is_cached(interaction_id):
        with cache.client() as client:
            return client.get(keys.interaction_key(interaction_id)).startswith(b"V")

    made = [call(stays, "POST", INTERACTIONS, new(response="old"))[1] for _ in range(4)]
    made = [each["interaction_id"] for each in made]
    gone, changed = made[:2], made[2:]
    assert all(map(is_cached, made))
    cache.hang()
    for number, server in enumerate((stopped, killed)):
        for _ in range(6):
            assert call(server, "GET", one(made[0]))[0] in (200, 404)
        assert call(server, "DELETE", one(gone[number]))[0] == 204
        assert call(server, "PATCH", one(changed[number]), {"response": "new"})[0] == 200
    stopped.end(signal.SIGTERM)
    killed.end(signal.SIGKILL)
    cache.go_on()
    servers.wait_for(cache.answers, "an answer of Redis")
    assert all(map(is_cached, made))
    for server in (*start(1, CACHE_TTL="300"), stays):
        assert [call(server, "GET", one(each))[0] for each in gone] == [404, 404]
        assert [call(server, "GET", one(each))[1]["response"] for each in changed] == ["new"] * 2


def in_phase(calls, phase):
    return [call for call in calls if phase.start <= call.started < phase.end]


def report(calls, phases, has_lookup):
    """Print what was measured, as a Markdown table."""
    stale = [call for call in calls if call.result == "stale"]
    failed = [call for call in calls if call.result in FAILED]
    print(f"\n\n{SERVERS} servers, CACHE_TTL {CACHE_TTL} s, {len(calls):,} requests: ", end="")
    print(f"{len(failed)} failed, {len(stale)} stale", end="")
    print(f", the oldest by {max(call.age for call in stale):.3f} s." if stale else ".")
    if not has_lookup:
        print("There are no lookups.")
    print(
        "\n| phase | s | machine busy | requests | failed | stale | a second | of healthy |", end=""
    )
    print(" p50 ms | p99 ms | longest ms |\n|---|" + "---:|" * 10)
    usual = median(_rate(calls, phase) for phase in phases if phase.name == "healthy")
    for phase in phases:
        print(_line(phase, in_phase(calls, phase), _rate(calls, phase) / usual))
    for call in [*failed, *stale][:20]:
        print(
            f"{call.kind} {call.result} at {_place(call, phases)}: {call.age:.3f} s, {call.detail}"
        )


def _line(phase, calls, of_healthy):
    times = sorted(call.seconds * 1000 for call in calls) or [math.nan]
    failed = sum(call.result in FAILED for call in calls)
    stale = sum(call.result == "stale" for call in calls)
    seconds = phase.end - phase.start
    cells = [
        *(phase.name, f"{seconds:.1f}", f"{phase.busy:.0%}", len(calls), failed, stale),
        *(f"{len(calls) / seconds:.1f}", f"{of_healthy:.0%}"),
        *(f"{times[int(len(times) * part)]:.1f}" for part in (0.5, 0.99)),
        f"{times[-1]:.1f}",
    ]
    return f"| {' | '.join(map(str, cells))} |"


def _rate(calls, phase):
    return len(in_phase(calls, phase)) / (phase.end - phase.start)


def _place(call, phases):
    for phase in phases:
        if phase.start <= call.started < phase.end:
            return f"{phase.name} + {call.started - phase.start:.3f} s"
    return "no phase"


def answer(row, number, **changes):
    """What a server answers after write `number`."""
    return Seen(200, row.whole() | {"response": ""} | row.body(number) | changes)


@pytest.mark.parametrize(
    ("known", "seen", "result", "age"),
    [
        (3, lambda row: answer(row, 2), "ok", 0),
        (2, lambda row: answer(row, 2), "ok", 0),
        (3, lambda row: answer(row, 1), "stale", 5),
        (3, lambda row: answer(row, 0), "stale", 9),
        (3, lambda row: answer(row, 3), "ok", 0),
        (3, lambda row: answer(row, 4), "wrong", 0),
        (3, lambda row: answer(row, 2, response="1 of another write"), "wrong", 0),
        (3, lambda row: answer(row, 2, interaction_id="another"), "wrong", 0),
        (3, lambda row: Seen(404, {}), "wrong", 0),
        (3, lambda row: Seen(400, {}), "wrong", 0),
    ],
)
def test_what_the_clients_know_tells_stale_and_wrong_answers(known, seen, result, age):
    row = Row("ada", answered=False, begun=3, acknowledged=[0.0, 1.0, 5.0])
    call = Call("read", started=10.0)
    judge(call, row, known, seen(row))
    assert (call.result, call.age) == (result, age)


def test_what_was_deleted_is_stale_if_it_is_shown():
    row = Row("ada", answered=True, begun=1, deletion=1, acknowledged=[0.0, 4.0])
    gone, there = Call("read", started=10.0), Call("read", started=10.0)
    judge(gone, row, 2, Seen(404, {}))
    judge(there, row, 2, answer(row, 0))
    assert (gone.result, there.result, there.age) == ("ok", "stale", 6.0)
