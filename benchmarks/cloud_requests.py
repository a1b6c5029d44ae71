"""What a request costs a server in production mode, beside one that leaves calls to botocore.

    python benchmarks/cloud_requests.py [--rounds 5] [--requests 200]

Starts a DynamoDB (ministack), a Redis (valkey) and four servers on one table: with and without
Redis, and each with libcurl and without it, as where there is no wheel of it. The servers take
turns; what counts is the CPU time of a server's processes, in which DynamoDB and Redis have no
part. A 401 asks neither, so it tells how alike two servers are.
"""

import argparse
import contextlib
import itertools
import json
import os
import random
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from cache_latency import LOOKUP, SETTINGS, USERS, prepare, sample
from harness.calls import MESSAGE, RESPONSE
from harness.delays import Connection
from harness.goals import REQUESTS_AT_MOST, most, verdicts_of
from harness.processes import process_cpu_seconds, process_tree
from harness.ratios import Ratios, ratio, save, table

from tests import servers
from tests.chat import processes

NO_LIBCURL = "raise ImportError('left out by the benchmark')\n"
ROWS = 2_600
"""More than a page for each user."""

Requests = dict[str, Callable[[], tuple[bytes, int]]]
"""By name, what makes the next request, and the status of its answer."""

Costs = dict[tuple[str, str, bool], list[float]]
"""CPU seconds of one request in each round, by call, cache, and whether there is libcurl."""


def main(words: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=200, help="of each call in each round")
    parser.add_argument("--json", type=Path, help="also write the ratios there")
    arguments = parser.parse_args(words)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cloud-requests-")))
        dynamodb, valkey = servers.DynamoDB(), servers.start_valkey()
        stack.callback(dynamodb.stop)
        stack.callback(valkey.terminate)
        rows = sample(None, ROWS)
        key = prepare(folder, dynamodb.url, rows)
        contestants = {}
        for cache, has_libcurl in itertools.product(("no cache", "Redis"), (True, False)):
            url = f"redis://127.0.0.1:{valkey.port}/0" if cache == "Redis" else ""
            server = started(folder, has_libcurl, DYNAMODB_ENDPOINT_URL=dynamodb.url, REDIS_URL=url)
            stack.callback(server.stop)
            contestants[cache, has_libcurl] = server
        costs = measure(contestants, requests_of(key, rows), arguments.rounds, arguments.requests)
    found = ratios(costs)
    print(report(costs, found))
    print(f"\n{verdicts_of(most('cloud requests', REQUESTS_AT_MOST), found)[0]}")
    save(found, arguments.json)


def started(folder: Path, has_libcurl: bool, **values: str) -> processes.Server:
    """A server that answers."""
    without = folder / "without"
    without.mkdir(exist_ok=True)
    (without / "pycurl.py").write_text(NO_LIBCURL)
    path = {} if has_libcurl else {"PYTHONPATH": str(without)}
    server = processes.Server(folder, executed=True, **SETTINGS, **values, **path)
    server.wait_until_it_answers()
    return server


def requests_of(key: str, rows: list[dict[str, str]]) -> Requests:
    """Each call that is measured."""
    ids = [row["interaction_id"] for row in rows]
    new = itertools.count()

    def request(method: str, path: str, body: object = None, authorization: str = key) -> bytes:
        lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", "Accept: application/json"]
        lines += [f"Authorization: Api-Key {authorization}"] if authorization else []
        content = b"" if body is None else json.dumps(body).encode()
        if content:
            lines += ["Content-Type: application/json", f"Content-Length: {len(content)}"]
        return "\r\n".join([*lines, "", ""]).encode() + content

    def user() -> str:
        return f"user-{random.randrange(USERS):03}"

    def interaction() -> dict[str, object]:
        return {
            "user_id": user(),
            "message": f"{next(new)} {os.getpid()} {MESSAGE}",
            "response": RESPONSE,
            "model_used": "model-1",
        }

    def by_id() -> str:
        return f"/api/v1/interactions/{random.choice(ids)}/"

    def unknown() -> dict[str, str]:
        return {"user_id": user(), "message": f"{next(new)} {os.getpid()} is unknown"}

    return {
        "get by id": lambda: (request("GET", by_id()), 200),
        "page of 50": lambda: (
            request("GET", f"/api/v1/users/{user()}/interactions/?limit=50"),
            200,
        ),
        "save": lambda: (request("POST", "/api/v1/interactions/", interaction()), 201),
        "lookup that misses": lambda: (request("POST", LOOKUP, unknown()), 404),
        "401": lambda: (request("GET", by_id(), authorization=""), 401),
    }


def measure(
    contestants: dict[tuple[str, bool], processes.Server],
    requests: Requests,
    rounds: int,
    count: int,
) -> Costs:
    """All rounds but the first. The servers take turns within each call."""
    costs: Costs = {}
    for number in range(rounds + 1):
        for name, make in requests.items():
            for (cache, has_libcurl), server in turns(contestants, number):
                seconds = cost(server, make, count)
                costs.setdefault((name, cache, has_libcurl), []).append(seconds)
    return {key: seconds[1:] for key, seconds in costs.items()}


def turns(
    contestants: dict[tuple[str, bool], processes.Server], number: int
) -> Iterator[tuple[tuple[str, bool], processes.Server]]:
    """The servers, another one first in each round."""
    found = list(contestants.items())
    place = number % len(found)
    yield from found[place:] + found[:place]


def cost(server: processes.Server, make: Callable[[], tuple[bytes, int]], count: int) -> float:
    """CPU seconds of one request."""
    asked = [make() for _ in range(count)]
    before = cpu_seconds(server)
    with contextlib.closing(Connection(server.port)) as connection:
        for data, expected in asked:
            _, status, body = connection.ask(data)
            if status != expected:
                raise RuntimeError(f"{data[:200]!r}: {status} {body[:500]!r}")
    return (cpu_seconds(server) - before) / count


def cpu_seconds(server: processes.Server) -> float:
    """Of all its processes."""
    return sum(map(process_cpu_seconds, process_tree(server.process_id)))


def ratios(costs: Costs) -> Ratios:
    """With libcurl to without, by call and cache."""
    return {
        f"cloud requests/{cache}/{name}": ratio(
            zip(costs[name, cache, True], costs[name, cache, False], strict=True)
        )
        for name, cache, has_libcurl in costs
        if has_libcurl
    }


def report(costs: Costs, found: Ratios) -> str:
    """One Markdown row for each call and cache."""
    rows = []
    for name, cache, has_libcurl in costs:
        if has_libcurl:
            medians = [statistics.median(costs[name, cache, way]) * 1e6 for way in (True, False)]
            cells = [f"{median:,.0f}" for median in medians]
            rows.append([f"{name}, {cache}", *cells, found[f"cloud requests/{cache}/{name}"]])
    return table("server CPU, µs", ["libcurl", "botocore", "ratio (min..max)"], rows)


if __name__ == "__main__":
    main()
