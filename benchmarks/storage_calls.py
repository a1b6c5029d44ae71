"""Storage calls beside raw sqlite3 on the same file, in one interleaved run.

    python benchmarks/storage_calls.py [--rows 200000] [--rounds 7] [--data FILE.jsonl.gz]
    python benchmarks/storage_calls.py --short --rows 200000 2000000

Raw sqlite3 runs the statements that a program would write by hand: one open connection,
the same library, pragmas, schema and durability (WAL, synchronous=FULL), plain tuples in
and out, no limits checked and no cache. The ratio says what the storage layer adds; of a get and
a page as JSON, too, which raw sqlite3 does not make.

With several numbers of rows it also says how much more the storage layer grows than raw sqlite3.
"""

import argparse
import itertools
import random
import tempfile
from pathlib import Path

from harness.calls import BATCH, PAGE, Figures, Operation, measure, ratios, report, share_of
from harness.data import Text, texts_of
from harness.local import COLUMNS, INSERT, Rows, connect, identifier, random_user, set_up
from harness.ratios import Ratio, Ratios, save, table

COUNTS = {"get": 2000, "page of 50": 200, "save": 400, "batch of 100": 15}
SHORT = [Text("How do I keep a list sorted?", "Use bisect.insort, it inserts in place. " * 2)]


def main(words: list[str] | None = None) -> None:
    """Measure at each size and print one table for each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rows", type=int, nargs="+", default=[200_000])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--share", type=float, default=1, help="of the usual calls in a round")
    parser.add_argument("--data", type=Path, help="JSONL with texts to use, may be .gz")
    parser.add_argument("--short", action="store_true", help="texts of 100 bytes, for many rows")
    parser.add_argument("--directory", help="where the database is made (default: temporary)")
    parser.add_argument("--json", type=Path, help="also write the ratios there")
    arguments = parser.parse_args(words)
    rows = Rows(SHORT if arguments.short else texts_of(arguments.data))
    kind = "short" if arguments.short else "real" if arguments.data else "made-up"
    found: Ratios = {}
    with tempfile.TemporaryDirectory(dir=arguments.directory) as directory:
        path = Path(directory) / "benchmark.sqlite3"
        set_up(path)
        for filled, count in itertools.pairwise([0, *sorted(arguments.rows)]):
            rows.fill(path, filled, count)
            print(f"\n### {count:,} rows, {path.stat().st_size / 2**20:,.0f} MiB\n", flush=True)
            figures = measure_all(path, rows, count, arguments)
            print(report(figures, "raw sqlite3"), flush=True)
            found |= ratios(figures, f"storage/{kind}/{count}")
    if len(arguments.rows) > 1:
        growth = growth_of(found, f"storage/{kind}", min(arguments.rows), max(arguments.rows))
        print(f"\n{table('grows more than raw by', ['ratio'], growth.items())}")
        found |= growth
    save(found, arguments.json)


def growth_of(found: Ratios, prefix: str, few: int, many: int) -> Ratios:
    """How many times more the calls cost at many rows, beside what raw sqlite3 does."""
    grown = {}
    for name, of_few in found.items():
        start, _, operation = name.rpartition("/")
        if start == f"{prefix}/{few}":
            of_many = found[f"{prefix}/{many}/{operation}"]
            low, high = of_many.low / of_few.high, of_many.high / of_few.low
            grown[f"{prefix}/growth/{operation}"] = Ratio(of_many.median / of_few.median, low, high)
    return grown


def measure_all(path: Path, rows: Rows, count: int, arguments: argparse.Namespace) -> Figures:
    """The costs of each operation in each round."""
    connection = connect(path)
    by_hand = raw_operations(connection, rows, count)
    counts = share_of(COUNTS, arguments.share)
    figures = measure(our_operations(rows, count), by_hand, counts, arguments.rounds)
    connection.close()
    return figures


def our_operations(rows: Rows, count: int) -> dict[str, Operation]:
    """Through the Storage interface, as a view calls it."""
    from storage import get_storage
    from storage.records.pages import PageQuery

    storage = get_storage()
    query = PageQuery(PAGE)

    def get() -> None:
        assert storage.get_interaction_sync(identifier(random.randrange(count))) is not None

    def get_json() -> None:
        assert storage.get_json_sync(identifier(random.randrange(count))) is not None

    def page() -> None:
        assert len(storage.get_user_interactions_sync(random_user(), PAGE)) == PAGE

    def page_json() -> None:
        assert len(storage.list_user_interactions_json_sync(random_user(), query).items) == PAGE

    def batch() -> None:
        outcomes = storage.create_interactions_sync([rows.interaction() for _ in range(BATCH)])
        assert all(outcome == "created" for outcome in outcomes)

    return {
        "get": get,
        "get as JSON": get_json,
        "page of 50": page,
        "page of 50 as JSON": page_json,
        "save": lambda: storage.save_interaction_sync(rows.interaction()),
        "batch of 100": batch,
    }


def raw_operations(connection: "object", rows: Rows, count: int) -> dict[str, Operation]:
    """By hand, on one open connection."""
    by_id = f"SELECT {COLUMNS} FROM storage_chatinteraction WHERE interaction_id = ?"
    newest = (
        f"SELECT {COLUMNS} FROM storage_chatinteraction WHERE user_id = ? "
        "ORDER BY created_at DESC, interaction_id DESC LIMIT ?"
    )

    def get() -> None:
        identity = (identifier(random.randrange(count)),)
        assert connection.execute(by_id, identity).fetchone() is not None

    def page() -> None:
        assert len(connection.execute(newest, (random_user(), PAGE)).fetchall()) == PAGE

    def batch() -> None:
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(INSERT, [rows.new() for _ in range(BATCH)])
        connection.execute("COMMIT")

    return {
        "get": get,
        "page of 50": page,
        "save": lambda: connection.execute(INSERT, rows.new()),
        "batch of 100": batch,
    }


if __name__ == "__main__":
    main()
