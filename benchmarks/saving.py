"""What roll-ups of usage and the search index add to a save: with them and without, in turns.

    python benchmarks/saving.py [--rows 50000] [--rounds 9] [--users 40] [--data FILE.jsonl.gz]
    python benchmarks/saving.py --http [--rounds 9] [--data FILE.jsonl.gz]

Whoever saves waits for the save and the triggers. All CPU is that and the indexing to which they
lead, which a thread of the server does later. `--users` share what is saved: many users mean many
roll-ups, of which each is a new row.

With `--http`, wrk keeps 16 requests in flight at two servers with one worker each. One of them has
no triggers, so nothing to count or to index. All CPU of their processes counts, until everything is
indexed.
"""

import argparse
import random
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness import saving_http
from harness.calls import BATCH, Operation, cost
from harness.data import texts_of
from harness.local import Rows, connect, set_up
from harness.ratios import Ratios, ratio, save, table

COUNTS = {"save": 300, "batch of 100": 10}
MODELS = 6
AT_MOST = 1.25
"""With both, by without."""

KEPT = {
    "without": (),
    "roll-ups": ("usage_",),
    "search index": ("text_",),
    "both": ("usage_", "text_"),
}
"""How the triggers begin that are kept."""


def main(words: list[str] | None = None) -> None:
    """Print one table, and whether the condition holds."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--users", type=int, default=40)
    parser.add_argument("--share", type=float, default=1, help="of the usual calls in a round")
    parser.add_argument("--data", type=Path, help="JSONL with texts to use, may be .gz")
    parser.add_argument("--json", type=Path, help="also write the ratios there")
    parser.add_argument("--http", action="store_true", help="of two servers, not of calls")
    arguments = parser.parse_args(words)
    if arguments.http:
        found = saving_http.compared(arguments.rounds, arguments.share, arguments.data, AT_MOST)
        save(found, arguments.json)
        return
    rows = Rows(texts_of(arguments.data))
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "benchmark.sqlite3"
        set_up(path)
        rows.fill(path, 0, arguments.rows)
        index = prepared()
        index._outbox.discard()  # what was there before there was an index
        index.catch_up(3600)
        connection = connect(path)
        found = measured(connection, operations(rows, arguments.users), arguments)
        connection.close()
    save(found, arguments.json)


def prepared() -> Any:
    """The index, without its thread: the program says when it works."""
    from storage import get_storage
    from storage.sqlite import text_state, text_thread

    text_state.PARTS = 10_000  # of a day each: rows are a second apart, and kept for 10,000 days
    text_thread.Background.wake = lambda self: None  # type: ignore[method-assign]
    random.seed(1)
    return get_storage().database._texts


def operations(rows: Rows, users: int) -> dict[str, Operation]:
    """Through the Storage interface, as a view calls it."""
    from storage import get_storage

    storage = get_storage()

    def interaction() -> Any:
        made = rows.interaction()
        made.user_id = f"user-{random.randrange(users)}"
        made.model_used = f"model-{random.randrange(MODELS)}"
        return made

    return {
        "save": lambda: storage.save_interaction_sync(interaction()),
        "batch of 100": lambda: storage.create_interactions_sync(
            [interaction() for _ in range(BATCH)]
        ),
    }


def measured(connection: Any, ours: dict[str, Operation], arguments: argparse.Namespace) -> Ratios:
    """Prints a table; returns the ratios to a save without."""
    costs: dict[tuple[str, str], list[float]] = {}
    for _ in range(arguments.rounds + 1):
        for kept, beginnings in KEPT.items():
            with only(connection, beginnings):
                for name, operation in ours.items():
                    count = max(1, int(COUNTS[name] * arguments.share))
                    saved, in_all = costs_of(operation, count)
                    costs.setdefault((name, kept), []).append(saved)
                    costs.setdefault((f"{name}, all CPU", kept), []).append(in_all)
    found: Ratios = {}
    lines = []
    for name in sorted({name for name, _ in costs}):
        without = costs[name, "without"][1:]  # the first round warms up
        cells = []
        for kept in list(KEPT)[1:]:
            pairs = zip(costs[name, kept][1:], without, strict=True)
            found[f"saving/{name}/{kept}"] = ratio(pairs)
            cells.append(found[f"saving/{name}/{kept}"])
        holds = "yes" if cells[-1].median <= AT_MOST else "NO"
        lines.append([name, f"{min(without):,.0f}", *cells, holds])
    titles = ["without, µs", *(f"{kept} / without" for kept in list(KEPT)[1:])]
    print(table("CPU", [*titles, f"both ≤ {AT_MOST:g}"], lines))
    return found


@contextmanager
def only(connection: Any, beginnings: tuple[str, ...]) -> Iterator[None]:
    """In this block no other triggers are there than those that begin so."""
    query = "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'"
    dropped = [row for row in connection.execute(query) if not row[0].startswith(beginnings)]
    for name, _ in dropped:
        connection.execute(f"DROP TRIGGER {name}")
    yield
    for _, sql in dropped:
        connection.execute(sql)


def costs_of(operation: Operation, count: int) -> tuple[float, float]:
    """CPU microseconds of one call, after one that compiles the statements anew.

    Until it returns, and with the indexing to which it leads.
    """
    from storage import get_storage

    index = get_storage().database._texts  # type: ignore[attr-defined]
    operation()
    index.catch_up(60)
    started = time.process_time()
    saved = cost(operation, count)
    index.catch_up(60)
    return saved, (time.process_time() - started) / count * 1e6


if __name__ == "__main__":
    main()
