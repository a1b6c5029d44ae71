"""Response times of reads over HTTP with Redis and without it, in one interleaved run.

    python benchmarks/cache_latency.py [--data FILE.jsonl.gz] [--rounds 10] [--requests 200]

Starts a DynamoDB (ministack), a Redis (valkey) and two servers in production mode with the same
data, of which one has the cache; `make test` installs all that. Between the servers and
DynamoDB each round trip takes 4 ms more, and between them and Redis 0.4 ms more, as in a data
center: a proxy waits that long before it passes a request on. What the proxies really add is
measured first and printed.

The fastest answer of a server is the one to a request without an API key, a 401: it tells how
much of a hit is HTTP itself. Every other answer is checked.
"""

import argparse
import contextlib
import gzip
import json
import multiprocessing
import os
import random
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any, Self

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from harness.data import make_texts

from tests import servers
from tests.chat import processes

DYNAMODB_SECONDS = 0.004
REDIS_SECONDS = 0.0004
PINGS = 300
CORRECTIONS = 5
CLOSE_ENOUGH = 0.03
USERS = 48
SLOW_PART = 0.95
CALLS = ("read by id", "lookup", "401")
LOOKUP = "/api/v1/interactions/lookup/"
SETTINGS = {
    "ENVIRONMENT": "production",
    "SECRET_KEY": "only-for-the-benchmark-" + "x" * 40,
    "HTTPS": "false",
    "AWS_REGION": "eu-central-1",
    "AWS_ACCESS_KEY_ID": "benchmark",
    "AWS_SECRET_ACCESS_KEY": "benchmark",
    "DYNAMODB_TABLE": "benchmark",
    "CACHE_TTL": "3600",
}


def main() -> None:
    """Measure and print."""
    arguments = parse_arguments()
    rows = sample(arguments.data, arguments.interactions)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cache-latency-")))
        dynamodb, valkey = servers.DynamoDB(), servers.start_valkey()
        stack.callback(dynamodb.stop)
        stack.callback(valkey.terminate)
        key = prepare(folder, dynamodb.url, rows)
        to_dynamodb = stack.enter_context(Proxy(dynamodb.port))
        to_redis = stack.enter_context(Proxy(valkey.port))
        calibrate("DynamoDB", to_dynamodb, DYNAMODB_SECONDS, http_ping)
        calibrate("Redis", to_redis, REDIS_SECONDS, redis_ping)
        contestants = []
        for redis_url in (f"redis://127.0.0.1:{to_redis.port}/0", ""):
            through = f"http://127.0.0.1:{to_dynamodb.port}"
            values = SETTINGS | {"DYNAMODB_ENDPOINT_URL": through, "REDIS_URL": redis_url}
            server = processes.Server(folder, **values)
            stack.callback(server.stop)
            server.wait_until_it_answers()
            contestants.append(Contestant(server.port, key, rows))
        for contestant in contestants:
            has_lookup = contestant.warm_up()
        misses = misses_of(valkey.port)
        rounds = measure(contestants, arguments.rounds, arguments.requests, has_lookup)
        report(rounds)
        print(f"\nMisses in Redis meanwhile: {misses_of(valkey.port) - misses}.")


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "--data",
        default=os.environ.get("INTERACTIONS_FILE"),
        help="interactions as exported, gzipped (default: $INTERACTIONS_FILE, else made up)",
    )
    parser.add_argument("--interactions", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--requests", type=int, default=200, help="of each call in each round")
    return parser.parse_args()


def sample(data: str | None, count: int) -> list[dict[str, Any]]:
    """The newest `count` interactions of a file, or made up ones; the newest is from now."""
    now = datetime.now(UTC)
    if data is None:
        return [
            {
                "interaction_id": f"interaction-{number}",
                "user_id": f"user-{number % USERS:03}",
                "message": text.message,
                "response": text.response,
                "model_used": "model-1",
                "created_at": now.isoformat(),
            }
            for number, text in enumerate(make_texts()[:count])
        ]
    with gzip.open(data, "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    rows = sorted(rows, key=lambda row: str(row["created_at"]))[-count:]
    later = now - datetime.fromisoformat(rows[-1]["created_at"])
    for row in rows:
        row["created_at"] = (datetime.fromisoformat(row["created_at"]) + later).isoformat()
    return rows


def prepare(folder: Path, url: str, rows: list[dict[str, Any]]) -> str:
    """The table, filled without proxy and cache; gives an API key."""
    file = folder / "interactions.jsonl"
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows))

    def run(*command: str) -> str:
        done = processes.run(folder, *command, **SETTINGS, DYNAMODB_ENDPOINT_URL=url)
        if done.returncode:
            raise RuntimeError(f"{command}: {done.stdout!r} {done.stderr!r}")
        return done.stdout.decode()

    run("migrate")
    run("dynamodb_table", "create")
    run("import_interactions", str(file))
    return run("create_api_key", "benchmark").split()[-1]


class Proxy:
    """Passes bytes on to `port`, the first of each request after a delay.

    A process of its own with two threads for each connection, because asyncio rounds what it
    waits up to whole milliseconds.
    """

    def __init__(self, port: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.target = port
        self._delay = context.Value("d", 0.0, lock=False)
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=_pass_all, args=(port, self._delay, other))
        self._process.daemon = True

    def __enter__(self) -> Self:
        self._process.start()
        self.port: int = self._pipe.recv()
        return self

    def __exit__(self, *error: object) -> None:
        self._process.terminate()
        self._process.join()

    def wait(self, seconds: float) -> None:
        """From now on each request waits so long."""
        self._delay.value = seconds


def _pass_all(target: int, delay: Any, pipe: Pipe) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    pipe.send(listener.getsockname()[1])
    while True:
        client, _ = listener.accept()
        server = socket.create_connection(("127.0.0.1", target))
        for each in (client, server):
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        answered = threading.Event()  # what comes after an answer is a new request
        answered.set()
        for function in (_pass_requests, _pass_answers):
            arguments = (client, server, answered, delay)
            threading.Thread(target=function, args=arguments, daemon=True).start()


def _pass_requests(
    client: socket.socket, server: socket.socket, answered: threading.Event, delay: Any
) -> None:
    with contextlib.suppress(OSError):
        while data := client.recv(65536):
            if answered.is_set():
                answered.clear()
                time.sleep(delay.value)
            server.sendall(data)
        server.shutdown(socket.SHUT_WR)


def _pass_answers(
    client: socket.socket, server: socket.socket, answered: threading.Event, delay: Any
) -> None:
    with client, server, contextlib.suppress(OSError):
        while data := server.recv(65536):
            answered.set()
            client.sendall(data)


def calibrate(name: str, proxy: Proxy, wanted: float, ping: "Ping") -> None:
    """Make it add `wanted` seconds, its own work included; print what it adds."""
    delay = wanted
    for _ in range(CORRECTIONS):
        proxy.wait(delay)
        added = added_by(proxy, ping)
        if abs(added - wanted) < CLOSE_ENOUGH * wanted:
            break
        delay = max(0.0, delay + wanted - added)
    print(f"The proxy before {name} adds {added * 1000:.2f} ms to each request.", flush=True)


def added_by(proxy: Proxy, ping: "Ping") -> float:
    """Seconds that a round trip takes longer through the proxy, in the median."""
    times: list[list[float]] = [[], []]
    with ping(proxy.target) as direct, ping(proxy.port) as through:
        for _ in range(PINGS):
            for each, call in zip(times, (direct, through), strict=True):
                started = time.perf_counter()
                call()
                each.append(time.perf_counter() - started)
    return statistics.median(times[1]) - statistics.median(times[0])


Ping = Callable[[int], contextlib.AbstractContextManager[Callable[[], Any]]]


@contextlib.contextmanager
def redis_ping(port: int) -> Iterator[Callable[[], Any]]:
    """A PING, on a connection of its own."""
    with socket.create_connection(("127.0.0.1", port)) as connection:

        def ping() -> None:
            connection.sendall(b"PING\r\n")
            if connection.recv(100) != b"+PONG\r\n":
                raise RuntimeError("Redis does not answer.")

        yield ping


@contextlib.contextmanager
def http_ping(port: int) -> Iterator[Callable[[], Any]]:
    """Any request, on a connection of its own."""
    connection = Connection(port)
    yield lambda: connection.ask(b"GET /_ministack/health HTTP/1.1\r\nHost: localhost\r\n\r\n")
    connection.close()


class Connection:
    """Asks over one connection that stays open, with next to no work of its own."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def close(self) -> None:
        """The server sees the end."""
        self._socket.close()

    def ask(self, request: bytes) -> tuple[float, int, bytes]:
        """Seconds from sending to the last byte, status and body."""
        started = time.perf_counter()
        self._socket.sendall(request)
        head, end, body = b"", b"", b""
        while not end:
            head, end, body = self._more(head + end + body).partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        while len(body) < length:
            body = self._more(body)
        return time.perf_counter() - started, int(head.split(b" ", 2)[1]), body

    def _more(self, data: bytes) -> bytes:
        received = self._socket.recv(65536)
        if not received:
            raise ConnectionError(f"The server hung up after {data!r}")
        return data + received


@dataclass(frozen=True)
class Request:
    """What is sent, and what the answer must be."""

    data: bytes
    status: int
    interaction_id: str | None = None


class Contestant:
    """One server, and the requests to it."""

    def __init__(self, port: int, key: str, rows: list[dict[str, Any]]) -> None:
        self._connection = Connection(port)
        self._key = key
        newest = {
            (row["user_id"], row["message"]): row["interaction_id"]
            for row in sorted(rows, key=lambda row: (row["created_at"], row["interaction_id"]))
            if row["response"]
        }
        ids = [row["interaction_id"] for row in rows]
        self.requests = {
            "read by id": [Request(self._get(each, key), 200, each) for each in ids],
            "lookup": [Request(self._look_up(*asked), 200, newest[asked]) for asked in newest],
            "401": [Request(self._get(each, ""), 401) for each in ids],
        }

    def warm_up(self) -> bool:
        """Each request once; gives whether there are lookups."""
        has_lookup = self._connection.ask(self.requests["lookup"][0].data)[1] not in (404, 405)
        for name in CALLS:
            if has_lookup or name != "lookup":
                for request in self.requests[name]:
                    self.seconds(request)
        return has_lookup

    def seconds(self, request: Request) -> float:
        """How long the answer took."""
        seconds, status, body = self._connection.ask(request.data)
        found = json.loads(body).get("interaction_id")
        if status != request.status or found != request.interaction_id:
            raise RuntimeError(f"{request.data!r}: {status} {body[:1000]!r}")
        return seconds

    def _get(self, interaction_id: str, key: str) -> bytes:
        return self._request("GET", f"/api/v1/interactions/{interaction_id}/", key)

    def _look_up(self, user_id: str, message: str) -> bytes:
        body = json.dumps({"user_id": user_id, "message": message}).encode()
        return self._request("POST", LOOKUP, self._key, body)

    def _request(self, method: str, path: str, key: str, body: bytes = b"") -> bytes:
        lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", "Accept: application/json"]
        if key:
            lines.append(f"Authorization: Api-Key {key}")
        if body:
            lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
        return "\r\n".join([*lines, "", ""]).encode() + body


Round = dict[str, tuple[list[float], list[float]]]
"""By call: seconds of each request, with the cache and without."""


def measure(
    contestants: list[Contestant], rounds: int, requests: int, has_lookup: bool
) -> list[Round]:
    """The servers take turns within each call of each round, now the one first, now the other."""
    if not has_lookup:
        print("Lookup is not there.")
    found = []
    for number in range(rounds):
        one_round: Round = {}
        for name in CALLS:
            if name == "lookup" and not has_lookup:
                continue
            times: list[list[float]] = [[], []]
            for place in (0, 1) if number % 2 else (1, 0):
                contestant = contestants[place]
                some = random.choices(contestant.requests[name], k=requests)
                times[place] = [contestant.seconds(request) for request in some]
            one_round[name] = (times[0], times[1])
        found.append(one_round)
    return found


def misses_of(port: int) -> int:
    """How many keys Redis was asked for and did not have."""
    import redis

    with redis.Redis(port=port) as client:
        return int(client.info("stats")["keyspace_misses"])


def report(rounds: list[Round]) -> None:
    """One Markdown row for each call: median and p95 over all rounds."""
    print("\n| ms: median / p95 | with the cache | without | less | in single rounds | 401 / hit |")
    print("|---|---:|---:|---:|---:|---:|")
    fastest = statistics.median(_all(rounds, "401", 0))
    for name in rounds[0]:
        sides = [_all(rounds, name, place) for place in (0, 1)]
        cells = [name, *map(_times, sides), "", "", ""]
        if name != "401":
            of_rounds = [_less(*each[name]) for each in rounds]
            cells[3:] = [
                f"**{_less(*sides):.0%}**",
                f"{min(of_rounds):.0%} to {max(of_rounds):.0%}",
                f"{fastest / statistics.median(sides[0]):.0%}",
            ]
        print(f"| {' | '.join(cells)} |")


def _all(rounds: list[Round], name: str, place: int) -> list[float]:
    return [seconds for each in rounds for seconds in each[name][place]]


def _less(with_cache: list[float], without: list[float]) -> float:
    return 1 - statistics.median(with_cache) / statistics.median(without)


def _times(seconds: list[float]) -> str:
    slow = sorted(seconds)[int(len(seconds) * SLOW_PART)]
    return f"{statistics.median(seconds) * 1000:.2f} / {slow * 1000:.2f}"


if __name__ == "__main__":
    main()
