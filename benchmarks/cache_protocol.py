"""What the leases cost: the cache of interactions beside plain GET and SET of redis-py.

    python benchmarks/cache_protocol.py [--rounds 9]

Starts a Redis (valkey) of its own, and a DynamoDB (ministack), which keeps the cache's
generations; `make test` installs both. Both sides ask the same server, in
turns within one run. Plain redis-py gets and sets bytes that are there already: it makes no JSON,
looks at nothing that it gets, and serves what is old when a reader fills after a writer.

CPU is the user and system time of this process, to which the server does not belong. The time
that passes includes the server, over loopback, where a round trip costs little.
"""

import argparse
import itertools
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from harness.calls import MESSAGE, RESPONSE
from harness.ratios import Ratios, ratio, save, table

import config  # noqa: F401  (before sqlite3)

TTL = 300
Operation = Callable[[Any], Any]
Cost = tuple[float, float]
"""Of one call, in microseconds: CPU, and the time that passes."""


def main(words: list[str] | None = None) -> None:
    """Measure and print one table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--count", type=int, default=300, help="calls in a round")
    parser.add_argument("--json", type=Path, help="also write the ratios there")
    arguments = parser.parse_args(words)
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "AWS_ACCESS_KEY_ID": "benchmark",
        "AWS_SECRET_ACCESS_KEY": "benchmark",
    }
    import django

    django.setup()
    from tests import servers

    dynamodb, valkey = servers.DynamoDB(), servers.start_valkey()
    try:
        figures = measure(dynamodb.url, valkey.port, arguments.rounds, arguments.count)
    finally:
        dynamodb.stop()
        valkey.terminate()
    save(report(figures), arguments.json)


def measure(url: str, port: int, rounds: int, count: int) -> dict[str, list[tuple[Cost, Cost]]]:
    """The costs (ours, plain) of each operation in each round."""
    ours, plain = our_operations(url, port), plain_operations(port)
    figures: dict[str, list[tuple[Cost, Cost]]] = {name: [] for name in ours}
    numbers = itertools.count()
    for _ in range(rounds + 1):
        for name in ours:
            figures[name].append(
                (cost(ours[name], numbers, count), cost(plain[name], numbers, count))
            )
    return {name: values[1:] for name, values in figures.items()}  # the first warms up


def cost(operation: Operation, numbers: "itertools.count[int]", count: int) -> Cost:
    """Of one call in `count`, each with an interaction of its own, made before."""
    some = [new(f"interaction-{next(numbers)}") for _ in range(count)]
    cpu, started = time.process_time(), time.perf_counter()
    for interaction in some:
        operation(interaction)
    passed = time.perf_counter() - started
    return (time.process_time() - cpu) / count * 1e6, passed / count * 1e6


def new(interaction_id: str) -> Any:
    """An interaction with an answer."""
    from storage.models import ChatInteraction

    return ChatInteraction(
        interaction_id=interaction_id,
        user_id="ada",
        message=MESSAGE,
        response=RESPONSE,
        model_used="model-1",
        input_tokens=40,
        output_tokens=450,
    )


def our_operations(url: str, port: int) -> dict[str, Operation]:
    """As CloudStorage reads and writes through its cache, with nothing behind it."""
    from storage.dynamodb import mirror
    from tests import clouds

    model = mirror.bound("unused", clouds.REGION, url, clouds.CONNECTIONS)
    redis_cache = clouds.make_cache(f"redis://127.0.0.1:{port}/0", **clouds.PATIENT)
    cache = clouds.make_storage(model, redis_cache).cache
    cached = new("cached")

    def hit(_: Any) -> None:
        if cache.get("cached", refuse).json is None:
            raise RuntimeError("The interaction was not cached.")

    def miss(interaction: Any) -> None:
        cache.get(interaction.interaction_id, lambda _: interaction)

    def complete(interaction: Any) -> None:
        with cache.writing(interaction.interaction_id) as writing:
            writing.committed = interaction

    def save(interaction: Any) -> None:
        with cache.writing(interaction.interaction_id, interaction) as writing:
            writing.committed = interaction

    cache.get("cached", lambda _: cached)
    return {
        "hit": hit,
        "miss, lease and fill": miss,
        "write: begin and end": complete,
        "write of an answer: two questions besides": save,
    }


def refuse(interaction_id: str) -> Any:
    """In the place of a read of the database."""
    raise RuntimeError(f"{interaction_id} was not cached.")


def plain_operations(port: int) -> dict[str, Operation]:
    """redis-py as it comes, and keys and values as it needs them."""
    import redis

    from storage.cache import keys
    from storage.records.json import Stored

    client = redis.Redis(port=port, db=1)
    value = Stored.of(new("cached")).json
    key = keys.interaction_key("cached")
    client.set(key, value, TTL)

    def miss(interaction: Any) -> None:
        if client.get(interaction.interaction_id) is None:
            client.set(interaction.interaction_id, value, TTL)

    def write(interaction: Any) -> None:
        client.set(interaction.interaction_id, value, TTL)

    return {
        "hit": lambda _: client.get(key),
        "miss, lease and fill": miss,
        "write: begin and end": write,
        "write of an answer: two questions besides": write,
    }


def report(figures: dict[str, list[tuple[Cost, Cost]]]) -> Ratios:
    """Print one table of CPU and one of the time that passes; medians, and the ratio of pairs."""
    found: Ratios = {}
    for place, title in enumerate(("CPU", "passes")):
        rows: list[list[object]] = []
        for name, pairs in figures.items():
            values = [(ours[place], plain[place]) for ours, plain in pairs]
            medians = (f"{statistics.median(column):,.0f}" for column in zip(*values, strict=True))
            found[f"cache/{title}/{name}"] = ratio(values)
            rows.append([name, *medians, ratio(values)])
        print(f"\n{table(f'µs, {title}', ['ours', 'plain', 'ratio (min..max)'], rows)}")
    return found


if __name__ == "__main__":
    main()
