"""Does an operation cost what is asked for, and not what is stored?

    python benchmarks/growth.py [--rows 2000000] [--small-only] [--keep DIR] [--json FILE]
                                [--only STEP ...]

A store of 20,000 rows beside one of a hundred times as many. Both have the same 2,030 users and 91
days, a third of them hot. Commands are processes of their own on a folder; a bare start of a
command is subtracted from their CPU and bytes. Bytes are of all reads and writes of files, from
memory or disk. Meanwhile four clients save and four read, and their longest wait is printed. The
conditions are on the larger store, in this run. It takes 2 GB of disk, six times that while the
benchmark runs, under ~/.cache/chat-store-bench (or BENCH_CACHE).
"""

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from harness import cloud, steps
from harness.conditions import MB, MIB, Both, conditions, small_conditions
from harness.contestants import cache_folder
from harness.cost import Cost
from harness.grown import Figure, Figures, Grown, copied, make

from tests.system.growth.filling import Content

SMALL = 20_000
LARGE = 2_000_000
BYTES_PER_ROW = 6_000
"""Of disk while the benchmark runs: the store, its copy, and backups as large as it."""

STEPS = [
    *("status", "cold_read", "lists", "exports", "backups", "erasures", "heavy", "night"),
    *("restore", "holds", "pending", "migration", "cloud"),
]

# The run.


def measure(made: Path, work: Path, rows: int, only: list[str]) -> tuple[Figures, int]:
    """All figures of one size, and the bytes of its database. The copies are deleted again."""
    found: Figures = {}

    def step(function: Callable[..., Figures], store: Grown, *arguments: Any) -> None:
        if only and function.__name__ not in only:
            return
        started = time.monotonic()
        figures = function(store, *arguments)
        found.update(figures)
        say(f"{rows:,} rows: {function.__name__}, {time.monotonic() - started:.0f} s")
        for title, figure in figures.items():
            say(f"  {title}: {cell(figure)}; others waited {waited(figure) or 'not at all'}")

    with _copied(made, work / "store") as store:
        size = store.database_bytes
        store.start = bare_start(work)
        with store.served():
            for name in STEPS[:6]:
                step(getattr(steps, name), store)
        if not only or "heavy" in only:
            store.program("heavy", str(rows * 6 // 5))
            store.manage("rebuild_search", "--missing")
        with store.served():
            step(steps.heavy, store)
            step(steps.night, store)
        if "`backup`, the first" in found:
            name = found["`backup`, the first"].cost.said.get("name", "latest")
            step(steps.restore, store, name)
    if rows == SMALL:
        for function in (steps.holds, steps.pending):
            with _copied(made, work / "store") as store:
                store.start = bare_start(work)
                step(function, store)
    with _empty(work / "older") as store:
        store.start = bare_start(work)
        step(steps.migration, store, rows * 6 // 5)
    return found, size


def bare_start(work: Path) -> Cost:
    """A command that does nothing in a store with nothing: the median of three."""
    with _empty(work / "empty") as store:
        store.manage("legal_hold", "list")
        costs = [store.manage("legal_hold", "list").cost for _ in range(3)]
    return Cost(
        cpu=statistics.median(cost.cpu for cost in costs),
        read=int(statistics.median(cost.read for cost in costs)),
        written=int(statistics.median(cost.written for cost in costs)),
    )


@contextmanager
def _copied(made: Path, folder: Path) -> Iterator[Grown]:
    try:
        yield copied(made, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _empty(folder: Path) -> Iterator[Grown]:
    folder.mkdir(parents=True)
    try:
        yield Grown(folder, Content(SMALL, datetime.now(UTC)))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def say(line: str) -> None:
    """Progress: what is measured, as soon as it is."""
    print(line, file=sys.stderr, flush=True)


# The table.


def cell(figure: Figure) -> str:
    """What an operation costs, in words."""
    cost = figure.cost
    parts = [f"{cost.cpu:.3g} s CPU", f"{cost.seconds:.3g} s"]
    parts.append(f"{cost.read / MB:.3g} MB read")
    parts.append(f"{cost.written / MB:.3g} MB written")
    if cost.memory:
        parts.append(f"{cost.memory / MIB:.0f} MB memory")
        parts.append(f"{cost.disk / MIB:.0f} MB disk")
    if cost.status != 0:
        parts.append("killed" if cost.status is None else f"exit {cost.status}: {cost.error[:120]}")
    parts += [f"{name} {_short(value)}" for name, value in (figure.seen or {}).items()]
    return ", ".join(parts)


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def waited(figure: Figure) -> str:
    """The longest waits of others."""
    if figure.writers is None or figure.readers is None:
        return ""
    return f"{figure.writers} / {figure.readers}"


def table(small: Figures, large: Figures, database: int) -> tuple[str, bool]:
    """The lines as Markdown, and whether all conditions hold."""
    lines = [
        "| operation | small | large | CPU, read: large / small | writers / readers waited at most "
        "| condition on the large one | |",
        "|---|---|---|---:|---|---|---|",
    ]
    all_hold = True
    for title, of_small in small.items():
        of_large = large.get(title)
        if of_large is None:
            found, ratios, shown = small_conditions(title, of_small), "", ""
        else:
            both = Both(of_small, of_large, database)
            found, shown = conditions(title, both), cell(of_large)
            ratios = f"{both.ratio('cpu'):.3g}, {both.ratio('read'):.3g}"
        verdict = " ".join("yes" if holds else "NO" for _, holds in found)
        all_hold &= all(holds for _, holds in found)
        terms = "; ".join(term for term, _ in found)
        wait = waited(of_large or of_small)
        lines.append(
            f"| {title} | {cell(of_small)} | {shown} | {ratios} | {wait} | {terms} | {verdict} |"
        )
    return "\n".join(lines), all_hold


def main() -> int:
    """Measure, and print the table. The exit status is 1 if a condition does not hold."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=LARGE, help="of the large store")
    parser.add_argument("--small-only", action="store_true", help="a quick look")
    parser.add_argument(
        "--keep", type=Path, metavar="DIR", help="keep the stores, or use them again"
    )
    parser.add_argument("--only", nargs="+", default=[], choices=STEPS, help="these steps alone")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures there")
    arguments = parser.parse_args()
    place = arguments.keep or cache_folder() / "growth"
    place.mkdir(parents=True, exist_ok=True)
    needed = BYTES_PER_ROW * (SMALL if arguments.small_only else arguments.rows)
    free = shutil.disk_usage(place).free
    if free < needed:
        print(f"{place} has {free / 1e9:.1f} GB free, and {needed / 1e9:.1f} GB are needed.")
        return 1
    sizes = [SMALL] if arguments.small_only else [SMALL, arguments.rows]
    found: dict[int, tuple[Figures, int]] = {}
    with tempfile.TemporaryDirectory(prefix="work-", dir=place) as work:
        try:
            for rows in [] if arguments.only == ["cloud"] else sizes:
                make(place / str(rows), rows)
                found[rows] = measure(place / str(rows), Path(work), rows, arguments.only)
            requests_hold = in_cloud(Path(work), arguments)
        finally:
            if arguments.keep is None:
                for rows in sizes:
                    shutil.rmtree(place / str(rows), ignore_errors=True)
    figures_hold = not found or report(found, sizes, arguments.json)
    return 0 if figures_hold and requests_hold else 1


def in_cloud(work: Path, arguments: argparse.Namespace) -> bool:
    """Count requests to DynamoDB and S3, and print them. Returns whether all conditions hold."""
    if arguments.small_only or (arguments.only and "cloud" not in arguments.only):
        return True
    with _empty(work / "cloud") as store:
        found = cloud.counts(store)
    text, all_hold = cloud.table(*found)
    print(f"\nDynamoDB and S3, {cloud.SIZES[0]:,} rows and {cloud.SIZES[1]:,}\n\n{text}")
    return all_hold


def report(found: dict[int, tuple[Figures, int]], sizes: list[int], file: Path | None) -> bool:
    """Print the table, and write the figures to a file. Returns whether all conditions hold."""
    small, (large, database) = found[sizes[0]][0], found[sizes[-1]]
    text, all_hold = table(small, large if len(sizes) > 1 else {}, database)
    print(f"\n{sizes[0]:,} rows and {sizes[-1]:,} ({database / MB:,.0f} MB of database)\n\n{text}")
    if file is not None:
        figures = {
            str(rows): {title: asdict(figure) for title, figure in found[rows][0].items()}
            for rows in sizes
        }
        file.write_text(json.dumps(figures, indent=1))
    return all_hold


if __name__ == "__main__":
    sys.exit(main())
