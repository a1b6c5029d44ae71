"""What archiving, purging and exporting cost: with what is due, not with what is stored.

    python benchmarks/lifecycle.py [--rows 10000 1000000] [--due 1000] [--rounds 5] [--data FILE]

For each number of rows a SQLite database is filled once, under ~/.cache/chat-store-bench (or
BENCH_CACHE); each round works on copies. Every figure is of a command in a process of its own, with
its start; rounds take turns between the sizes, and the ratio is the median of the rounds' ratios.
Beside `sqlite3 .dump | zstd`, which reads the same rows, in the same rounds.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from harness.contestants import CHAT_STORE, cache_folder
from harness.data import texts_of
from harness.ratios import Ratios, ratio, save

import config  # noqa: F401  (before sqlite3)
from tests.sqlite import connect

DATABASE = "chat.sqlite3"
MIGRATE = """
import os; os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
import django; django.setup()
from storage.startup.schema import migrate_under_lock; migrate_under_lock()
"""
DUMP = 'sqlite3 "$0" .dump | zstd -q -6 -T1 > "$1"'

NOW = datetime(2026, 11, 22, tzinfo=UTC)
COLUMNS = (
    "interaction_id, user_id, message, response, model_used, "
    "input_tokens, output_tokens, created_at, updated_at"
)
INSERT = f"INSERT INTO storage_chatinteraction ({COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?)"


@dataclass(frozen=True)
class Figure:
    """One process: seconds, its highest resident memory in MiB, and what it said."""

    seconds: float
    memory: float
    said: dict[str, Any]


def main() -> None:
    """Measure, and print two tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rows", type=int, nargs=2, default=[10_000, 1_000_000])
    parser.add_argument("--due", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--whole", type=int, nargs=2, default=[10_000, 50_000])
    parser.add_argument("--data", type=Path, help="JSON lines with message and response")
    parser.add_argument("--json", type=Path, help="also write the ratios there")
    arguments = parser.parse_args()
    texts = texts_of(arguments.data)
    found = what_is_due(arguments.rows, arguments.due, arguments.rounds, texts)
    found |= whole(arguments.whole, arguments.rounds, texts)
    save(found, arguments.json)


def what_is_due(sizes: list[int], due: int, rounds: int, texts: list[Any]) -> Ratios:
    """The same number of rows archived, and purged, out of few and out of many."""
    folders = [filled(rows, due, texts) for rows in sizes]
    figures: dict[str, list[list[float]]] = {}
    for _ in range(rounds):
        found: dict[str, list[float]] = {}
        for folder in folders:
            with_due(folder, due, texts)
            for name, days in (("archive_interactions", 0), ("purge_interactions", 60)):
                figure = manage(folder, name, days)
                count = figure.said["archived" if days == 0 else "cold"]
                if count != due:
                    raise RuntimeError(f"{name} did {count} of {due}")
                found.setdefault(name, []).append(figure.said["seconds"])
        for name, seconds in found.items():
            figures.setdefault(name, []).append(seconds)
    few, many = (f"{rows:,} rows, s" for rows in sizes)
    print(f"\n| {due:,} due among | {few} | {many} | ratio (min to max) |\n|---|---:|---:|---:|")
    ratios: Ratios = {}
    for name, pairs in figures.items():
        many_to_few = ratio((second, first) for first, second in pairs)
        ratios[f"lifecycle/due/{name}"] = many_to_few
        seconds = [statistics.median(each) for each in zip(*pairs, strict=True)]
        print(f"| `{name}` | {seconds[0]:.2f} | {seconds[1]:.2f} | {many_to_few} |", flush=True)
    return ratios


def whole(sizes: list[int], rounds: int, texts: list[Any]) -> Ratios:
    """All rows archived, exported and purged, beside a dump of the same database."""
    figures: dict[tuple[str, int], list[Figure]] = {}
    for _ in range(rounds):
        for rows in sizes:
            folder = work_folder(rows, filled(rows, rows, texts))
            figures.setdefault(("sqlite3 .dump \\| zstd", rows), []).append(dumped(folder))
            for name, days in (
                ("export_interactions", 0),
                ("archive_interactions", 0),
                ("purge_interactions", 60),
            ):
                figures.setdefault((f"`{name}`", rows), []).append(manage(folder, name, days))
            shutil.rmtree(folder)
    rule = "---|---:|---:|---:|---:"
    few, many = (f"{rows:,}" for rows in sizes)
    print(
        f"\n| all rows | rows a second, of {many} | of the dump's speed (min to max) "
        f"| MiB, {few} rows | MiB, {many} rows |\n|{rule}|"
    )
    dump = figures["sqlite3 .dump \\| zstd", sizes[1]]
    ratios: Ratios = {}
    for name in dict.fromkeys(name for name, _ in figures):
        small, large = figures[name, sizes[0]], figures[name, sizes[1]]
        speed_to_dump = ratio((a.seconds, b.seconds) for a, b in zip(dump, large, strict=True))
        ratios[f"lifecycle/whole/{name.strip('`')}"] = speed_to_dump
        speed = statistics.median(sizes[1] / each.seconds for each in large)
        memory = [max(each.memory for each in some) for some in (small, large)]
        print(f"| {name} | {speed:,.0f} | {speed_to_dump} | {memory[0]:.0f} | {memory[1]:.0f} |")
    return ratios


def filled(rows: int, due: int, texts: list[Any]) -> Path:
    """A folder with a database of so many rows, all but `due` of them young. Made once."""
    name = f"{rows}-{due if due == rows else 'some'}-{len(texts)}-indexed"
    folder = cache_folder() / "lifecycle" / name
    if (folder / "complete").exists():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    print(f"Filling a database with {rows:,} rows ...", file=sys.stderr)
    CHAT_STORE.run([sys.executable, "-c", MIGRATE], folder / DATABASE)
    insert(folder, 0, rows, texts, 35 if due == rows else 10)
    index(folder)
    (folder / "complete").touch()
    return folder


def insert(folder: Path, first: int, count: int, texts: list[Any], age: int) -> None:
    """Rows of half a day, `age` days ago, as fast as SQLite takes them."""
    start = NOW - timedelta(days=age)
    connection = connect(folder / DATABASE, isolation_level=None, timeout=20)
    connection.execute("PRAGMA synchronous=OFF")
    connection.execute("BEGIN")
    connection.executemany(INSERT, (row(first + n, start, n / count, texts) for n in range(count)))
    connection.execute("COMMIT")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def row(number: int, start: datetime, share: float, texts: list[Any]) -> tuple[Any, ...]:
    """One row; ids sort as times do."""
    text = texts[number % len(texts)]
    time = str(start + timedelta(days=0.5 * share))[: -len("+00:00")]  # as Django writes it
    identifier = f"{int(start.timestamp()):012x}-{number:012x}"
    user = f"user-{number % 40:03}"
    return identifier, user, text.message, text.response, "model-1", 40, 450, time, time


def with_due(folder: Path, due: int, texts: list[Any]) -> None:
    """Add the rows that are due; archived and then purged, they leave all as it was."""
    insert(folder, 10_000_000, due, texts, 35)
    index(folder)


def index(folder: Path) -> None:
    """Put into the search index what it lacks, as servers do within seconds of a save."""
    measured([sys.executable, "manage.py", "rebuild_search", "--missing"], folder)


def work_folder(rows: int, source: Path) -> Path:
    """A copy that may be changed."""
    folder = cache_folder() / "lifecycle" / f"work-{rows}"
    shutil.rmtree(folder, ignore_errors=True)
    return Path(shutil.copytree(source, folder))


def manage(folder: Path, name: str, days: int) -> Figure:
    """Run a command as of so many days after NOW."""
    words = [sys.executable, "manage.py", name]
    if name == "export_interactions":
        words.append(str(folder / "out.jsonl.zst"))
    else:
        words += ["--now", (NOW + timedelta(days=days)).isoformat()]
    if name == "purge_interactions":
        words.append("--yes")  # it is another time than the present, and all is due
    return measured(words, folder)


def dumped(folder: Path) -> Figure:
    """The same rows by sqlite3's own command, compressed as the archive is."""
    words = ["sh", "-c", DUMP, str(folder / DATABASE), str(folder / "dump.sql.zst")]
    return measured(words, folder)


def measured(words: list[str], folder: Path) -> Figure:
    """Run a process to its end."""
    settings = {
        "DATABASE_URL": f"sqlite:///{folder / DATABASE}",
        "DATA_DIR": str(folder),
        "RETENTION_HOT_DAYS": "30",
        "RETENTION_TOTAL_DAYS": "90",
    }
    environment = CHAT_STORE.environment(folder / DATABASE) | settings
    started = time.monotonic()
    process = subprocess.Popen(
        words,
        cwd=CHAT_STORE.folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    printed = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.monotonic() - started
    process.stdout.close()
    if process.returncode:
        raise RuntimeError(f"{' '.join(words)} ended with {process.returncode}: {printed}")
    said = json.loads(printed) if printed.startswith("{") else {}
    return Figure(seconds, usage.ru_maxrss / 1024, said)


if __name__ == "__main__":
    main()
