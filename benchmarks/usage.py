"""What the roll-ups of usage cost a save: with their triggers and without, in turns.

    python benchmarks/usage.py [--rows 50000] [--rounds 25] [--users 40] [--data FILE.jsonl.gz]

`--users` share what is saved: many users mean many roll-ups, of which each is a new row.
"""

import argparse
import random
import tempfile
from pathlib import Path
from typing import Any

from harness.calls import BATCH, Figures, Operation, cost, report
from harness.data import texts_of
from harness.local import Rows, connect, set_up

COUNTS = {"save": 200, "batch of 100": 10}
MODELS = 6


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--users", type=int, default=40)
    parser.add_argument("--data", type=Path, help="JSONL with texts to use, may be .gz")
    arguments = parser.parse_args()
    rows = Rows(texts_of(arguments.data))
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "benchmark.sqlite3"
        set_up(path)
        rows.fill(path, 0, arguments.rows)
        connection = connect(path)
        print(
            report(
                measured(connection, operations(rows, arguments.users), arguments.rounds), "without"
            )
        )
        connection.close()


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


def measured(connection: Any, ours: dict[str, Operation], rounds: int) -> Figures:
    """With the triggers, and without, in each round; the first one warms up."""
    query = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND name LIKE 'usage_%'"
    triggers = connection.execute(query).fetchall()
    figures: Figures = {name: [] for name in ours}
    for _ in range(rounds + 1):
        with_triggers = {
            name: warm_cost(operation, COUNTS[name]) for name, operation in ours.items()
        }
        for name, _sql in triggers:
            connection.execute(f"DROP TRIGGER {name}")
        for name, operation in ours.items():
            figures[name].append((with_triggers[name], warm_cost(operation, COUNTS[name])))
        for _name, sql in triggers:
            connection.execute(sql)
    return {name: pairs[1:] for name, pairs in figures.items()}


def warm_cost(operation: Operation, count: int) -> float:
    """CPU microseconds of one call, after one that compiles the statements anew."""
    operation()
    return cost(operation, count)


if __name__ == "__main__":
    main()
