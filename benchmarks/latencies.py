"""The table of latencies of ADR-002 (data management), in its own form, with figures.

    python benchmarks/latencies.py [--rounds 5]

Wall time of one call of the Storage interface, in milliseconds: the median of all rounds, in which
the backends take turns. SQLite commits to this machine's disk. DynamoDB is an emulator (ministack)
on this machine, as it is and with 4 and 8 ms more for each request, as a proxy adds them. The cache
is Redis (valkey) as it is and with 0.4 ms more. A batch has 100 interactions; in the cache it is
100 strings. With --one-by-one, the requests of a batch wait for each other, as a comparison.
"""

import argparse
import contextlib
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from harness.calls import BATCH, MESSAGE, PAGE, RESPONSE
from harness.delays import Proxy, calibrate, http_ping, redis_ping
from harness.ratios import Ratios, ratio, save, table

import config  # noqa: F401  (before sqlite3)

REGION = "eu-central-1"
SECONDS = {"emulator": 0.0, "+ 4 ms": 0.004, "+ 8 ms": 0.008}
REDIS_SECONDS = 0.0004
COUNTS = {"Write": 20, "Read by ID": 20, "Query by user": 10, "Batch write": 3}
ADR = {
    "Write": ("5", "10", "1"),
    "Read by ID": ("2", "5", "0.5"),
    "Query by user": ("10", "15", "N/A"),
    "Batch write": ("50", "20", "5"),
}

Operations = Mapping[str, Callable[[], Any]]
Times = dict[str, dict[str, list[float]]]
"""Seconds of a call in each round (its median), by backend and operation."""


def main(words: list[str] | None = None) -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--one-by-one", action="store_true", help="also batches one by one")
    parser.add_argument("--json", type=Path, help="also write the ratios there")
    arguments = parser.parse_args(words)
    with tempfile.TemporaryDirectory(prefix="latencies-") as folder:
        os.environ |= {
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "DATA_DIR": folder,
            "DATABASE_URL": f"sqlite:///{folder}/data.sqlite3",
            "AWS_ACCESS_KEY_ID": "benchmark",
            "AWS_SECRET_ACCESS_KEY": "benchmark",
        }
        import django

        django.setup()
        with contextlib.ExitStack() as stack:
            found = dict(backends(stack, arguments.one_by_one))
            times = measure(found, arguments.rounds)
    print(report(times))
    save(ratios(times), arguments.json)


def backends(stack: contextlib.ExitStack, one_by_one: bool) -> Iterator[tuple[str, Operations]]:
    """What is measured, by the name of its column."""
    from django.core.cache.backends.dummy import DummyCache

    from storage import get_storage
    from storage.dynamodb import mirror
    from storage.startup.schema import migrate_under_lock
    from tests import clouds, servers

    migrate_under_lock()
    yield "SQLite", of_interactions(get_storage())
    dynamodb, valkey = servers.DynamoDB(), servers.start_valkey()
    stack.callback(dynamodb.stop)
    stack.callback(valkey.terminate)
    for name, seconds in SECONDS.items():
        proxy = stack.enter_context(Proxy(dynamodb.port))
        if seconds:
            calibrate("DynamoDB", proxy, seconds, http_ping)
        url = f"http://127.0.0.1:{proxy.port}"
        model = mirror.bound("unused", REGION, url, clouds.CONNECTIONS)
        storage = clouds.make_storage(model, DummyCache("", {}))
        yield f"DynamoDB, {name}", of_interactions(storage)
        if one_by_one and seconds:
            yield f"one by one, {name}", {"Batch write": in_turn(storage)}
    cached = clouds.storage_of(storage.database.client, clouds.make_cache(redis_url(valkey.port)))
    yield "Redis", of_strings(cached)
    proxy = stack.enter_context(Proxy(valkey.port))
    calibrate("Redis", proxy, REDIS_SECONDS, redis_ping)
    far = clouds.storage_of(storage.database.client, clouds.make_cache(redis_url(proxy.port)))
    yield "Redis, + 0.4 ms", of_strings(far)


def redis_url(port: int) -> str:
    """The address of the cache."""
    return f"redis://127.0.0.1:{port}/0"


def new(user_id: str | None = None) -> Any:
    """An interaction, by default of one of many users: the emulator slows down with a user's."""
    from storage.models import ChatInteraction

    return ChatInteraction(
        user_id=user_id or f"user-{random.randrange(10_000)}",
        message=MESSAGE,
        response=RESPONSE,
        model_used="model-1",
        input_tokens=40,
        output_tokens=450,
    )


def of_interactions(storage: Any) -> Operations:
    """The operations of a backend, with two pages of interactions stored."""
    known = [new("ada") for _ in range(2 * PAGE)]
    storage.create_interactions_sync(known)
    reads = iter(range(10**9))

    def read() -> None:
        found = known[next(reads) % len(known)].interaction_id
        assert storage.database.read(found) is not None  # past the cache

    return {
        "Write": lambda: storage.create_interaction_sync(new()),
        "Read by ID": read,
        "Query by user": lambda: storage.get_user_interactions_sync("ada", PAGE),
        "Batch write": lambda: storage.create_interactions_sync([new() for _ in range(BATCH)]),
    }


def in_turn(storage: Any) -> Callable[[], Any]:
    """The requests of a batch, each after the one before."""
    part = BATCH // 4

    def write() -> None:
        for _ in range(4):
            storage.create_interactions_sync([new() for _ in range(part)])

    return write


def of_strings(storage: Any) -> Operations:
    """The operations of the cache."""

    def many() -> None:
        for number in range(BATCH):
            storage.cache_set_sync(f"chat:ada:{number}", RESPONSE, 300)

    many()
    return {
        "Write": lambda: storage.cache_set_sync("chat:ada:0", RESPONSE, 300),
        "Read by ID": lambda: storage.cache_get_sync("chat:ada:0"),
        "Batch write": many,
    }


def measure(found: Mapping[str, Operations], rounds: int) -> Times:
    """All rounds, without the first."""
    times: Times = {name: {each: [] for each in operations} for name, operations in found.items()}
    for number in range(rounds + 1):
        for operation, count in COUNTS.items():
            for name, operations in found.items():
                if operation in operations:
                    seconds = median_of(operations[operation], count)
                    times[name][operation] += [seconds] if number else []
    return times


def median_of(call: Callable[[], Any], count: int) -> float:
    """Seconds of one call."""
    seconds = []
    for _ in range(count):
        started = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def report(times: Times) -> str:
    """The table, with the decision record's own figures first."""
    rows = []
    for operation, expected in ADR.items():
        cells = [
            _shown(statistics.median(found[operation]) * 1000) if operation in found else "N/A"
            for found in times.values()
        ]
        rows.append([operation, " / ".join(expected), *cells])
    return table("ms", ["ADR-002: SQLite / DynamoDB / cache", *times], rows)


def _shown(milliseconds: float) -> str:
    return f"{milliseconds:.0f}" if milliseconds >= 10 else f"{milliseconds:.2g}"


def ratios(times: Times) -> Ratios:
    """A batch of 100 to a single write, by backend; and to the same requests one by one."""
    found: Ratios = {}
    for name, of_backend in times.items():
        if "Write" in of_backend and name.startswith(("SQLite", "DynamoDB")):
            pairs = zip(of_backend["Batch write"], of_backend["Write"], strict=True)
            found[f"latencies/batch to write/{name}"] = ratio(pairs)
        in_turn_name = name.replace("DynamoDB", "one by one")
        if in_turn_name != name and in_turn_name in times:
            pairs = zip(of_backend["Batch write"], times[in_turn_name]["Batch write"], strict=True)
            found[f"latencies/four at a time/{name}"] = ratio(pairs)
    for name, value in found.items():
        print(f"{name}: {value}")
    return found


if __name__ == "__main__":
    main()
