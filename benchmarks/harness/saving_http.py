"""Two servers, with roll-ups and the search index and with neither: the CPU of a save over HTTP."""

import sqlite3
import sys
import tempfile
import time
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path

from harness import wrk
from harness.contestants import CHAT_STORE, Contestant, cache_folder
from harness.data import DataSet, texts_of
from harness.measure import BATCH, SAVE, Lines, Operation, Runner, running
from harness.ratios import Ratios, ratio, table

CONNECTIONS = 16
REQUESTS = {SAVE: 2_000, BATCH: 20}
ROWS = 10_000
INDEXED_SECONDS = 3.0
"""After which the indexer has begun with what was saved: it waits for two."""

BEGINNINGS = ("usage_", "text_")
"""How the triggers begin that are dropped for the other server."""


@dataclass
class Side:
    """A server, and its database."""

    runner: Runner
    database: Path

    def cost(self, operation: Operation, share: float) -> float:
        """CPU seconds of a request, with all that it leads to."""
        before, count = self.runner.server.cpu_seconds(), max(1, int(REQUESTS[operation] * share))
        self.runner.send(operation, CONNECTIONS, requests=count)
        self.wait()
        return (self.runner.server.cpu_seconds() - before) / count

    def wait(self) -> None:
        """Until all is indexed."""
        time.sleep(INDEXED_SECONDS)
        with closing(sqlite3.connect(self.database, timeout=60)) as connection:
            while connection.execute("SELECT 1 FROM storage_textchange LIMIT 1").fetchall():
                time.sleep(0.1)


def _without_triggers(contestant: Contestant, database: Path) -> str:
    authorization = CHAT_STORE.create_key(contestant, database)
    with closing(sqlite3.connect(database)) as connection, connection:
        query = "SELECT name FROM sqlite_schema WHERE type = 'trigger'"
        for (name,) in connection.execute(query).fetchall():
            if name.startswith(BEGINNINGS):
                connection.execute(f"DROP TRIGGER {name}")
    return authorization


WITHOUT = replace(
    CHAT_STORE,
    slug="without",
    title="without roll-ups and index",
    create_key=_without_triggers,
)


def compared(rounds: int, share: float, data: Path | None, at_most: float) -> Ratios:
    """Prints a table; returns the ratios to a server without."""
    wrk.require()
    data_set = DataSet(texts_of(data), ROWS)
    cache_folder().mkdir(parents=True, exist_ok=True)
    costs: dict[tuple[Operation, str], list[float]] = {}
    with (
        tempfile.TemporaryDirectory(dir=cache_folder(), prefix="run-") as folder,
        ExitStack() as stack,
    ):
        lines = Lines(data_set, Path(folder))
        sides = []
        for contestant in (CHAT_STORE, WITHOUT):
            runner = stack.enter_context(running(contestant, data_set, lines, lines.folder))
            database = lines.folder / f"{contestant.slug}-1" / "db.sqlite3"
            sides.append(Side(runner, database))
        for number in range(rounds + 1):
            for operation in REQUESTS:
                for side in sides if number % 2 else sides[::-1]:
                    found = side.cost(operation, share)
                    key = operation, side.runner.contestant.slug
                    costs.setdefault(key, []).append(found)
            print(f"Round {number} of {rounds}", file=sys.stderr, flush=True)
    return _reported(costs, at_most)


def _reported(costs: dict[tuple[Operation, str], list[float]], at_most: float) -> Ratios:
    found: Ratios = {}
    rows = []
    for operation in REQUESTS:
        # The first round warms up.
        both, without = (costs[operation, one.slug][1:] for one in (CHAT_STORE, WITHOUT))
        ratios = ratio(zip(both, without, strict=True))
        found[f"saving/http/{operation.title}"] = ratios
        microseconds = [f"{min(side) * 1e6:,.0f}" for side in (without, both)]
        holds = "yes" if ratios.median <= at_most else "NO"
        rows.append([operation.title, *microseconds, ratios, holds])
    titles = ["without, µs", "with, µs", "with / without", f"≤ {at_most:g}"]
    print(table("All CPU of the server, a request", titles, rows))
    return found
