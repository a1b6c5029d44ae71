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
import os
import random
import statistics
import sys
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from harness.data import make_texts
from harness.delays import Connection, Proxy, calibrate, http_ping, redis_ping
from harness.ratios import Ratios, ratio, save

from tests import servers
from tests.chat import processes

DYNAMODB_SECONDS = 0.004
REDIS_SECONDS = 0.0004
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
    "RATE_LIMIT_PER_KEY": "0",
    "RATE_LIMIT_PER_ADDRESS": "0",
}


def main(words: list[str] | None = None) -> None:
    """Measure and print."""
    arguments = parse_arguments(words)
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
            contestant.warm_up()
        misses = misses_of(valkey.port)
        rounds = measure(contestants, arguments.rounds, arguments.requests)
        report(rounds)
        print(f"\nMisses in Redis meanwhile: {misses_of(valkey.port) - misses}.")
    save(ratios(rounds), arguments.json)


def parse_arguments(words: list[str] | None) -> argparse.Namespace:
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
    parser.add_argument("--json", type=Path, help="also write the ratios there")
    return parser.parse_args(words)


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


@dataclass(frozen=True)
class Request:
    """What is sent, and what the answer must be."""

    data: bytes
    status: int
    interaction_id: str | None = None


class Contestant:
    """One server, and the requests to it."""

    def __init__(self, port: int, key: str, rows: list[dict[str, Any]]) -> None:
        self._port = port
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

    def warm_up(self) -> None:
        """Each request once."""
        for name in CALLS:
            self.times(self.requests[name])

    def times(self, requests: list[Request]) -> list[float]:
        """How long each answer took, in seconds, on one connection."""
        with contextlib.closing(Connection(self._port)) as connection:
            return [_seconds(connection, request) for request in requests]

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


def _seconds(connection: Connection, request: Request) -> float:
    seconds, status, body = connection.ask(request.data)
    found = json.loads(body).get("interaction_id")
    if status != request.status or found != request.interaction_id:
        raise RuntimeError(f"{request.data!r}: {status} {body[:1000]!r}")
    return seconds


Round = dict[str, tuple[list[float], list[float]]]
"""By call: seconds of each request, with the cache and without."""


def measure(contestants: list[Contestant], rounds: int, requests: int) -> list[Round]:
    """The servers take turns within each call of each round, now the one first, now the other."""
    found = []
    for number in range(rounds):
        one_round: Round = {}
        for name in CALLS:
            times: list[list[float]] = [[], []]
            for place in (0, 1) if number % 2 else (1, 0):
                contestant = contestants[place]
                some = random.choices(contestant.requests[name], k=requests)
                times[place] = contestant.times(some)
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


def ratios(rounds: list[Round]) -> Ratios:
    """How many times as long an answer takes with the cache, in the median."""
    return {
        f"latency/{name}": ratio(
            (statistics.median(with_cache), statistics.median(without))
            for with_cache, without in (one_round[name] for one_round in rounds)
        )
        for name in CALLS
    }


def _all(rounds: list[Round], name: str, place: int) -> list[float]:
    return [seconds for each in rounds for seconds in each[name][place]]


def _less(with_cache: list[float], without: list[float]) -> float:
    return 1 - statistics.median(with_cache) / statistics.median(without)


def _times(seconds: list[float]) -> str:
    slow = sorted(seconds)[int(len(seconds) * SLOW_PART)]
    return f"{statistics.median(seconds) * 1000:.2f} / {slow * 1000:.2f}"


if __name__ == "__main__":
    main()
