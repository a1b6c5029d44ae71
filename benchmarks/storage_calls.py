"""Storage calls beside raw sqlite3 on the same file, in one interleaved run.

    python benchmarks/storage_calls.py [--rows 200000 2000000] [--rounds 7]
    python benchmarks/storage_calls.py --writers 16 [--rows 20000] [--rounds 7] [--fsync-ms 2]

Raw sqlite3 runs the statements that a program would write by hand: one open connection,
the same library, pragmas, schema and durability (WAL, synchronous=FULL), plain tuples in
and out, no limits checked and no cache. The ratio says what the storage layer adds.

With --writers, so many threads create interactions, beside as many threads that commit one
row each on that connection. --fsync-ms lets each wait for the disk take so much longer, by a
small library that a C compiler makes and that is loaded before the others (Linux).
"""

import argparse
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import config  # noqa: F401  (before sqlite3)

USERS = 40
PAGE = 50
BATCH = 100
COLUMNS = (
    "interaction_id, user_id, message, response, model_used, "
    "input_tokens, output_tokens, created_at, updated_at"
)
INSERT = f"INSERT INTO storage_chatinteraction ({COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?)"
MESSAGE = "How do I keep a list sorted while I insert into it? " * 3
RESPONSE = "Use bisect.insort, which finds the place in O(log n) and inserts there. " * 25

Operation = Callable[[], Any]


def main() -> None:
    """Measure at each size and print one table for each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rows", type=int, nargs="+", default=[200_000, 2_000_000])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument(
        "--directory", help="where the databases are made (default: a temporary one)"
    )
    parser.add_argument("--writers", type=int, default=0)
    parser.add_argument("--fsync-ms", type=float, default=0)
    arguments = parser.parse_args()
    if arguments.fsync_ms and SLOW_DISK not in os.environ.get("LD_PRELOAD", ""):
        with tempfile.TemporaryDirectory() as directory:
            sys.exit(on_a_slow_disk(Path(directory), arguments.fsync_ms))
    with tempfile.TemporaryDirectory(dir=arguments.directory) as directory:
        path = Path(directory) / "benchmark.sqlite3"
        set_up(path)
        filled = 0
        for rows in sorted(arguments.rows):
            fill(path, filled, rows)
            filled = rows
            print(f"\n### {rows:,} rows, {path.stat().st_size / 2**20:,.0f} MiB\n", flush=True)
            if arguments.writers:
                report_writers(measure_writers(path, arguments.writers, arguments.rounds))
            else:
                report(measure(path, rows, arguments.rounds))


def set_up(path: Path) -> None:
    """Django on this database, migrated."""
    os.environ["DATABASE_URL"] = f"sqlite:///{path}"
    os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
    os.environ["RETENTION_TOTAL_DAYS"] = "10000"  # the rows have fixed times
    import django

    django.setup()
    from storage.startup.schema import migrate_under_lock

    migrate_under_lock()


def connect(path: Path) -> Any:
    """A raw connection with the project's durability."""
    from tests import sqlite

    connection = sqlite.connect(path, isolation_level=None, timeout=20, check_same_thread=False)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA secure_delete=ON")
    connection.execute("PRAGMA wal_autocheckpoint=4000")
    return connection


def row_of(number: int) -> tuple[Any, ...]:
    """Row `number`: ids that sort by time, as UUIDv7 does; one row a second."""
    seconds = 1_750_000_000 + number
    text = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds)) + ".123456"
    identifier = f"{seconds * 1000:012x}"
    identifier = f"{identifier[:8]}-{identifier[8:]}-7000-8000-{number:012x}"
    user = f"user-{number % USERS:03}"
    return identifier, user, MESSAGE, RESPONSE, "model-1", 40, 450, text, text


def fill(path: Path, start: int, end: int) -> None:
    """Rows `start` to `end`, fast."""
    connection = connect(path)
    connection.execute("PRAGMA synchronous=OFF")
    for first in range(start, end, 50_000):
        connection.execute("BEGIN IMMEDIATE")
        numbers = range(first, min(first + 50_000, end))
        connection.executemany(INSERT, (row_of(number) for number in numbers))
        connection.execute("COMMIT")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def measure(path: Path, rows: int, rounds: int) -> dict[str, list[tuple[float, float]]]:
    """CPU microseconds (ours, raw) of each operation in each round."""
    random_source = random.Random(rows)
    ours, raw = our_operations(rows, random_source), raw_operations(path, rows, random_source)
    counts = {"get by id": 2000, "page of 50": 200, "save": 400, "batch of 100": 15}
    figures: dict[str, list[tuple[float, float]]] = {name: [] for name in counts}
    for _ in range(rounds + 1):
        for name, count in counts.items():
            figures[name].append((cost(ours[name], count), cost(raw[name], count)))
    return {name: values[1:] for name, values in figures.items()}  # the first warms up


def cost(operation: Operation, count: int) -> float:
    """CPU microseconds of one call."""
    started = time.process_time()
    for _ in range(count):
        operation()
    return (time.process_time() - started) / count * 1e6


def our_operations(rows: int, random_source: random.Random) -> dict[str, Operation]:
    """Through the Storage interface, as a view calls it."""
    from storage import get_storage
    from storage.models import ChatInteraction

    storage = get_storage()

    def new() -> ChatInteraction:
        return ChatInteraction(
            user_id=f"user-{random_source.randrange(USERS):03}",
            message=MESSAGE,
            response=RESPONSE,
            model_used="model-1",
            input_tokens=40,
            output_tokens=450,
        )

    def get() -> None:
        found = storage.get_interaction_sync(row_of(random_source.randrange(rows))[0])
        assert found is not None

    def page() -> None:
        user = f"user-{random_source.randrange(USERS):03}"
        assert len(storage.get_user_interactions_sync(user, PAGE)) == PAGE

    def batch() -> None:
        outcomes = storage.create_interactions_sync([new() for _ in range(BATCH)])
        assert all(outcome == "created" for outcome in outcomes)

    return {
        "get by id": get,
        "page of 50": page,
        "save": lambda: storage.save_interaction_sync(new()),
        "batch of 100": batch,
    }


def raw_operations(path: Path, rows: int, random_source: random.Random) -> dict[str, Operation]:
    """By hand, on one open connection."""
    from storage.models.interaction import new_interaction_id

    connection = connect(path)

    def new() -> tuple[Any, ...]:
        text = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime()) + ".123456"
        user = f"user-{random_source.randrange(USERS):03}"
        return new_interaction_id(), user, MESSAGE, RESPONSE, "model-1", 40, 450, text, text

    def get() -> None:
        sql = f"SELECT {COLUMNS} FROM storage_chatinteraction WHERE interaction_id = ?"
        found = connection.execute(sql, (row_of(random_source.randrange(rows))[0],)).fetchone()
        assert found is not None

    def page() -> None:
        sql = (
            f"SELECT {COLUMNS} FROM storage_chatinteraction WHERE user_id = ? "
            "ORDER BY created_at DESC, interaction_id DESC LIMIT ?"
        )
        user = f"user-{random_source.randrange(USERS):03}"
        assert len(connection.execute(sql, (user, PAGE)).fetchall()) == PAGE

    def batch() -> None:
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(INSERT, [new() for _ in range(BATCH)])
        connection.execute("COMMIT")

    return {
        "get by id": get,
        "page of 50": page,
        "save": lambda: connection.execute(INSERT, new()),
        "batch of 100": batch,
    }


SLOW_DISK = "slow_disk.so"
SLOW_SOURCE = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <unistd.h>
#define SLOW(name) int name(int file) {{ \\
    static int (*real)(int); \\
    if (!real) real = (int (*)(int)) dlsym(RTLD_NEXT, #name); \\
    usleep({microseconds}); \\
    return real(file); \\
}}
SLOW(fsync)
SLOW(fdatasync)
"""


def on_a_slow_disk(directory: Path, milliseconds: float) -> int:
    """Run this program again, where each fsync takes so much longer. Returns its status."""
    source, library = directory / "slow_disk.c", directory / SLOW_DISK
    source.write_text(SLOW_SOURCE.format(microseconds=int(milliseconds * 1000)))
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    environment = os.environ | {"LD_PRELOAD": str(library)}
    return subprocess.run([sys.executable, *sys.argv], env=environment, check=False).returncode


Latencies = tuple[float, list[float]]
"""Rows a second, and the seconds that each took, sorted."""


def measure_writers(path: Path, writers: int, rounds: int) -> list[tuple[Latencies, Latencies]]:
    """Each round: ours, then raw sqlite3 with one commit a row."""
    from storage import get_storage
    from storage.models import ChatInteraction
    from storage.models.interaction import new_interaction_id

    storage, connection, lock = get_storage(), connect(path), threading.Lock()
    text = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime()) + ".123456"

    def create() -> None:
        user = f"user-{random.randrange(USERS):03}"
        fields = {"message": MESSAGE, "response": RESPONSE, "model_used": "model-1"}
        storage.create_interaction_sync(ChatInteraction(user_id=user, **fields))

    def insert() -> None:
        user = f"user-{random.randrange(USERS):03}"
        row = new_interaction_id(), user, MESSAGE, RESPONSE, "model-1", 40, 450, text, text
        with lock:
            connection.execute(INSERT, row)

    figures = [(together(writers, create), together(writers, insert)) for _ in range(rounds + 1)]
    return figures[1:]  # the first warms up


def together(writers: int, write: Operation, each: int = 60) -> Latencies:
    """So many threads write at once."""
    taken: list[float] = []

    def work() -> None:
        for _ in range(each):
            started = time.perf_counter()
            write()
            taken.append(time.perf_counter() - started)

    started = time.perf_counter()
    with ThreadPoolExecutor(writers) as executor:
        for future in [executor.submit(work) for _ in range(writers)]:
            future.result()
    return writers * each / (time.perf_counter() - started), sorted(taken)


def report_writers(rounds: list[tuple[Latencies, Latencies]]) -> None:
    """Ratios only: what the disk does meanwhile changes all figures."""
    print("| storage / one commit a row | median | min | max |")
    print("|---|---|---|---|")
    parts = {"p50": 0.5, "p99": 0.99}
    ratios = {"rows a second": [ours[0] / raw[0] for ours, raw in rounds]}
    for name, part in parts.items():
        ratios[f"{name} of a write"] = [
            ours[1][int(part * len(ours[1]))] / raw[1][int(part * len(raw[1]))]
            for ours, raw in rounds
        ]
    for name, found in ratios.items():
        print(f"| {name} | {statistics.median(found):.2f} | {min(found):.2f} | {max(found):.2f} |")


def report(figures: dict[str, list[tuple[float, float]]], other: str = "raw sqlite3") -> None:
    """One Markdown row for each operation: medians, and the median ratio of the pairs."""
    print(f"| operation | storage, CPU µs | {other}, CPU µs | ratio (min to max) |")
    print("|---|---|---|---|")
    for name, pairs in figures.items():
        ratios = [ours / raw for ours, raw in pairs]
        ours, raw = (statistics.median(column) for column in zip(*pairs, strict=True))
        print(
            f"| {name} | {ours:,.0f} | {raw:,.0f} | **{statistics.median(ratios):.2f}** "
            f"({min(ratios):.2f} to {max(ratios):.2f}) |"
        )


if __name__ == "__main__":
    main()
