"""The search index: what it takes to make, and a search by it beside stock Django.

    python benchmarks/text_index.py [--rows 1000000] [--rounds 5] [--data FILE.jsonl.gz]

A search is a page of 50 of the admin's list: the index names candidates, and the interactions are
read. Beside it is what Django's own admin does for `search_fields`: it counts what contains the
word (`icontains`), and reads a page of 100.
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

from harness.calls import Operation, cost
from harness.data import texts_of
from harness.local import Rows, set_up
from harness.ratios import Ratios, ratio, save, table
from saving import prepared


def main(words: list[str] | None = None) -> None:
    """Measure, and print one table for each question."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--data", type=Path, help="JSONL with texts to use, may be .gz")
    parser.add_argument("--directory", help="where the database is made (default: temporary)")
    parser.add_argument("--json", type=Path, help="also write the ratios there")
    arguments = parser.parse_args(words)
    rows = Rows(texts_of(arguments.data))
    found: Ratios = {}
    with tempfile.TemporaryDirectory(dir=arguments.directory) as directory:
        path = Path(directory) / "benchmark.sqlite3"
        set_up(path)
        rows.fill(path, 0, arguments.rows)
        found |= searches(path, arguments.rows, arguments.rounds)
    save(found, arguments.json)


def searches(path: Path, rows: int, rounds: int) -> Ratios:
    """Build the index, and search in turns."""
    index = prepared()
    index._outbox.discard()  # they were there before there was an index
    started = time.process_time()
    while not index.catch_up(60):
        pass
    taken = time.process_time() - started
    size = Path(f"{path}.search").stat().st_size
    print(f"{rows:,} rows, {path.stat().st_size / 2**20:,.0f} MiB; the index has")
    print(f"{size / 2**20:,.0f} MiB, and took {taken / rows * 1e6:,.0f} µs a row\n")
    figures = {}
    for name, (ours, stock) in questions().items():
        figures[name] = [(cost(ours, 3), cost(stock, 1)) for _ in range(rounds)]
    for name, pairs in figures.items():
        milliseconds = [f"{min(column) / 1000:,.1f}" for column in zip(*pairs, strict=True)]
        print(name, *milliseconds, "ms")
    ratios = {f"search/{rows}/{name}": ratio(pairs) for name, pairs in figures.items()}
    print(f"\n{table('search beside icontains', ['ratio'], ratios.items())}")
    return ratios


def questions() -> dict[str, tuple[Operation, Operation]]:
    """Searches, ours and stock: rare, common, several words, a beginning, none, of one user."""
    from django.db.models import Q

    from storage import get_storage
    from storage.models import ChatInteraction
    from storage.records.searches import Search

    storage = get_storage()

    def pair(text: str, **fields: Any) -> tuple[Operation, Operation]:
        wanted = ChatInteraction.objects.filter(**fields)
        for word in text.split():
            wanted = wanted.filter(Q(message__icontains=word) | Q(response__icontains=word))

        def stock() -> None:
            wanted.count()
            list(wanted[:100])

        return lambda: storage.search_interactions_sync(Search(text=text, **fields)), stock

    return {
        "rare": pair("broadway"),
        "common": pair("with"),
        "one letter": pair("a"),
        "two words": pair("history broadway"),
        "no match": pair("xyzzyplugh"),
        "rare, of one user": pair("broadway", user_id="user-007"),
    }


if __name__ == "__main__":
    main()
