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
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from harness import cloud
from harness.contestants import PROJECT, cache_folder
from harness.cost import Cost, size_of
from harness.grown import Figure, Grown, asked, copied, make
from harness.processes import free_port

from tests.system.growth.filling import rare_user, user

SMALL = 20_000
LARGE = 2_000_000
BYTES_PER_ROW = 6_000
"""Of disk while the benchmark runs: the store, its copy, and backups as large as it."""

MB = 1_000_000
MIB = 1024 * 1024
LONGEST_WAIT = 1.0
AVERAGE = user(7)
LIMIT = 150.0
"""Seconds that an operation may take which should be done in a few."""

RESTORE_SECONDS = 300
HOLDS = 5_000
PENDING = 1_000
CRONTAB = PROJECT / "docs" / "how-to" / "retention.md"
ROW_BYTES = 900
"""One row as a line of JSON."""

STEPS = [
    *("status", "cold_read", "lists", "exports", "backups", "erasures", "heavy", "night"),
    *("restore", "holds", "pending", "migration", "cloud"),
]

Figures = dict[str, Figure]
Condition = tuple[str, bool]


@dataclass(frozen=True)
class Both:
    """The figures of one line, of the small store and of the large one, and the large store."""

    small: Figure
    large: Figure
    database: int
    """Bytes of the large database."""

    def ratio(self, name: str) -> float:
        """How many times as much the large one costs."""
        return _ratio(getattr(self.large.cost, name), getattr(self.small.cost, name))

    # Conditions.

    def done(self) -> Condition:
        cost = self.large.cost
        return "done", cost.status == 0

    def waits(self) -> Condition:
        figure = self.large
        return (
            "nobody waits 1 s or is refused",
            figure.longest <= LONGEST_WAIT and not figure.failed,
        )

    def cpu(self, times: float) -> Condition:
        # A tenth of a second is what two starts differ by.
        most = times * max(self.small.cost.cpu, 0.1)
        return f"CPU at most {times:g} x the small one's", self.large.cost.cpu <= most

    def cpu_seconds(self, most: float) -> Condition:
        return f"CPU at most {most:g} s", self.large.cost.cpu <= most

    def memory(self, mib: int) -> Condition:
        return f"memory at most {mib} MB", self.large.cost.memory <= mib * MIB

    def disk(self, mib: int) -> Condition:
        return f"at most {mib} MB more disk", self.large.cost.disk <= mib * MIB

    def read(self, most: float, what: str) -> Condition:
        return f"reads at most {what} ({most / MB:,.1f} MB)", self.large.cost.read <= most

    def written(self, most: float, what: str) -> Condition:
        return f"writes at most {what} ({most / MB:,.1f} MB)", self.large.cost.written <= most


def _ratio(large: float, small: float) -> float:
    return large / small if small else float("inf" if large else 1)


# The steps. Each returns its figures by line.


def status(store: Grown) -> Figures:
    return {"`storage_status`": store.beside("storage_status")}


def cold_read(store: Grown) -> Figures:
    apart = store.content.cold // 21
    first = store.content.rows * 3 // 91  # what is nearly expired may be gone soon
    ids = [store.content.identifier(first + n * apart) for n in range(20)]
    figure = store.program("unpacked", *ids)
    with store.server(free_port()) as server:
        port = int(server.log.stem.rpartition("-")[2])
        with store.traffic() as traffic, asked(server) as found:
            for identifier in ids:
                store.get(port, f"/api/v1/interactions/{identifier}/")
    each = _divided(found[0], len(ids))
    seen = {"unpacked": figure.cost.said["most"]}
    return {"cold read by id": Figure(each, traffic.writers, traffic.readers, seen)}


def lists(store: Grown) -> Figures:
    """Pages of the archive, asked of a second server."""
    end = store.content.end - timedelta(days=32)
    period = {
        "tier": "archive",
        "created_after": (end - timedelta(days=31)).isoformat().replace("+00:00", "Z"),
        "created_before": end.isoformat().replace("+00:00", "Z"),
        "limit": 50,
    }
    query = urlencode(period)
    of_user = f"/api/v1/users/{AVERAGE}/interactions/?{query}"
    found: Figures = {}
    with store.server(free_port()) as server:
        port = int(server.log.stem.rpartition("-")[2])
        store.get(port, of_user)  # the first request imports what it needs
        for title, path, most in (
            ("tier=archive, everyone, a page of 50", f"/api/v1/interactions/?{query}", 1),
            ("tier=archive, a user, a page of 50", of_user, 1),
            ("tier=archive, a user, 31 days", of_user, 1_000),
        ):
            with store.traffic() as traffic, asked(server) as costs:
                pages = list(_pages(store, port, path, most))
            short = sum(len(rows) < 50 for rows, more in pages if more)
            seen = {
                "rows": sum(len(rows) for rows, _ in pages),
                "pages": len(pages),
                "short": short,
            }
            found[title] = Figure(costs[0], traffic.writers, traffic.readers, seen)
    return found


def _pages(store: Grown, port: int, path: str, most: int) -> Iterator[tuple[list[Any], bool]]:
    for _ in range(most):
        answer = store.get(port, path)
        yield answer["results"], answer["next"] is not None
        if answer["next"] is None:
            return
        following = urlsplit(answer["next"])
        path = f"{following.path}?{following.query}"


def exports(store: Grown) -> Figures:
    found = {}
    for title, name in (("3 cold rows", rare_user(0)), ("average", AVERAGE)):
        folder = store.folder / f"export-{name}"
        figure = store.beside("export_user", name, "--output", str(folder))
        seen = {"result": size_of(folder)}
        found[f"`export_user`, {title}"] = replace(figure, seen=seen)
        shutil.rmtree(folder, ignore_errors=True)
    return found


def backups(store: Grown) -> Figures:
    first = store.beside("backup", writers=0)
    unchanged = store.beside("backup", writers=0)
    found = {
        "`backup`, the first": first,
        "`backup`, nothing changed": unchanged,
        "`backup`, something changed": store.beside("backup"),
        "`verify_backup latest`": store.beside("verify_backup", "latest"),
    }
    return found


def erasures(store: Grown) -> Figures:
    limit = ("--max-seconds", str(int(LIMIT)), "--wait", "60")
    found = {}
    for title, name in (("3 cold rows", rare_user(1)), ("average", AVERAGE)):
        figure = store.beside("erase_user", name, *limit, limit=2 * LIMIT)
        seen = {"receipt": figure.cost.status == 0 and bool(figure.cost.said.get("erasures"))}
        found[f"`erase_user`, {title}"] = replace(figure, seen=seen)
    second = store.beside("erase_user", "--pending", *limit, limit=2 * LIMIT)
    found["`erase_user --pending` after both"] = second
    return found


def heavy(store: Grown) -> Figures:
    """A user with very many hot rows."""
    limit = ("--max-seconds", str(int(LIMIT)), "--wait", "60")
    figure = store.beside("erase_user", "heavy", *limit, limit=2 * LIMIT)
    said = figure.cost.said
    rate = said.get("counts", {}).get("hot", 0) / max(said.get("seconds", 0.0), 0.001)
    return {"`erase_user`, very many hot rows": replace(figure, seen={"rate": rate})}


def holds(store: Grown) -> Figures:
    """On the small store alone: what 5,000 holds cost an erasure, beside ten."""
    store.program("hold", "0", "10")
    few = store.manage("erase_user", user(11), "--wait", "60")
    made = store.program("hold", "10", str(HOLDS - 10))
    many = store.manage("erase_user", user(12), "--wait", "60")
    extra = many.cost.beyond(few.cost)
    seen = {"few": few.cost.cpu, "documents": made.cost.said["bytes"], "extra": extra.read}
    return {f"erase, {HOLDS:,} legal holds": replace(many, seen=seen)}


def pending(store: Grown) -> Figures:
    """On the small store alone: a request, and finishing one, with ten pending and with 1,000."""
    few = store.program("request", "0", "10").cost.said["seconds"]
    first = store.manage("erase_user", "--pending", "--wait", "60")
    store.program("request", "10", str(PENDING - 20))
    many = store.program("request", str(PENDING - 10), "20").cost.said["seconds"]
    limit = ("--max-seconds", str(int(LIMIT)), "--wait", "60")
    last = store.manage("erase_user", "--pending", *limit, limit=2 * LIMIT)
    counts = [max(len(figure.cost.said.get("erasures", ())), 1) for figure in (first, last)]
    seen = {
        "request": _ratio(many, few),
        "each": _ratio(last.cost.cpu / counts[1], first.cost.cpu / counts[0]),
        "finished": counts[1],
    }
    return {f"{PENDING:,} pending erasures": replace(last, seen=seen)}


def night(store: Grown) -> Figures:
    """The crontab of retention.md, each line once, and all of it."""
    found = {}
    for words in crontab():
        name = f"nightly: `{' '.join(words)}`"
        found[name] = store.beside(*words, limit=3 * LIMIT)
    costs = [figure.cost for figure in found.values()]
    total = Cost(
        seconds=sum(cost.seconds for cost in costs),
        cpu=sum(cost.cpu for cost in costs),
        read=sum(cost.read for cost in costs),
        written=sum(cost.written for cost in costs),
        memory=max(cost.memory for cost in costs),
        disk=max(cost.disk for cost in costs),
        status=max(9 if cost.status is None else cost.status for cost in costs),
    )
    worst = max(found.values(), key=lambda figure: figure.longest)
    found["the night in all"] = Figure(total, worst.writers, worst.readers)
    return found


def crontab() -> list[list[str]]:
    """The commands of the first crontab on the page, in its order."""
    block = re.search(r"```crontab\n(.*?)```", CRONTAB.read_text(encoding="utf-8"), re.DOTALL)
    assert block is not None
    _, *commands = block[1].split("manage.py ")
    return [command.splitlines()[0].split() for command in commands]


def restore(store: Grown, backup: str) -> Figures:
    """The first backup, which is older than all erasures. No server runs."""
    limit = RESTORE_SECONDS * 1.1
    figure = store.manage("restore", backup, "--yes", limit=limit)
    seen: dict[str, Any] = {"true": False}
    if figure.cost.status == 0:
        found = store.program("restored", rare_user(1), AVERAGE, "heavy").cost.said
        seen = found | {"true": found["erased"] == 0 and found["missing"] == 0}
    return {"`restore`": replace(figure, seen=seen)}


def migration(store: Grown, rows: int) -> Figures:
    """An older version's database, with its processes at work, gets an index."""
    migrated = store.manage("migrate", "storage", "0001")
    if migrated.cost.status:
        raise RuntimeError(migrated.cost.error)
    store.program("heavy", str(rows))
    program = str(Path(__file__).parent / "harness" / "programs.py")
    old = subprocess.Popen(
        [sys.executable, program, "old_version", "0"],
        env=store.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert old.stdout is not None
    old.stdout.readline()
    time.sleep(1)
    beside = store.manage("storage_status")
    printed = json.loads(old.communicate("")[0].splitlines()[-1])
    alone = store.manage("storage_status")
    said = "stop" in beside.cost.error.lower()
    longest = max(printed["writers"], printed["readers"])
    seen = {
        "said": said and beside.cost.status != 0,
        "longest": longest,
        "failed": printed["failed"],
    }
    return {"a migration that builds an index": replace(alone, seen=seen)}


# What must hold.


def conditions(title: str, both: Both) -> list[Condition]:
    """The conditions of a line."""
    large = both.large
    done, waits = both.done(), both.waits()
    if title == "`storage_status`":
        return [done, waits, both.read(4 * MB, "4 MB")]
    if title == "cold read by id":
        return [waits, ("unpacks at most 64 KB", large["unpacked"] <= 64 * 1024)]
    if title.startswith("tier=archive"):
        times = _ratio(
            large.cost.cpu / max(large["rows"], 1), both.small.cost.cpu / max(both.small["rows"], 1)
        )
        return [
            waits,
            (f"no page is short ({large['short']} of {large['pages']})", large["short"] == 0),
            (f"CPU a row at most 3 x the small one's ({times:.2f})", times <= 3),
        ]
    if title.startswith("`export_user`"):
        most = 20 * large["result"] + 2 * MB
        return [done, waits, both.read(most, "20 x its result and 2 MB")]
    if title in ("`backup`, the first", "`backup`, something changed"):
        return [done, waits, both.read(3 * both.database, "3 x the database")]
    if title == "`backup`, nothing changed":
        return [done, waits, both.written(both.database / 100, "1 % of the database")]
    if title.startswith("`verify_backup"):
        return [done, waits, both.read(2 * both.database, "2 x the database")]
    if title == "`erase_user`, 3 cold rows":
        receipt = "a receipt", large["receipt"]
        return [receipt, both.cpu(3), both.memory(150), both.disk(64), waits]
    if title == "`erase_user`, average":
        cold = both.large.cost.said.get("counts", {}).get("cold", 0)
        most = 20 * max(cold, 1) * ROW_BYTES + 2 * MB
        return [
            ("a receipt", large["receipt"]),
            both.cpu_seconds(10),
            both.read(most, f"20 x the bytes of its {cold} rows and 2 MB"),
            waits,
        ]
    if title.startswith("`erase_user --pending`"):
        return [done, both.memory(150), both.disk(64), waits]
    if title == "`erase_user`, very many hot rows":
        return [
            (f"at least 10,000 rows a second ({large['rate']:,.0f})", large["rate"] >= 10_000),
            waits,
        ]
    if title == "`restore`":
        in_time = large.cost.seconds <= RESTORE_SECONDS
        return [
            done,
            ("at most 5 minutes", in_time),
            ("erased users are gone, all stubs are there", large["true"]),
        ]
    if title == "a migration that builds an index":
        longest = large["longest"]
        short = longest <= LONGEST_WAIT
        said = "says first that servers must be stopped" if large["said"] else "says nothing"
        return [done, (f"nobody waits 1 s ({longest:.2f} s), or it {said}", short)]
    if title.startswith("nightly") or title == "the night in all":
        return [done, waits]
    return []


def small_conditions(title: str, figure: Figure) -> list[Condition]:
    """The conditions of lines that need the small store alone."""
    if "legal holds" in title:
        once = figure["extra"] <= 1.5 * figure["documents"]
        return [("done", figure.cost.status == 0), ("holds are read once", once)]
    if "pending erasures" in title:
        return [
            ("done", figure.cost.status == 0),
            (f"a request costs the same ({figure['request']:.2f} x)", figure["request"] <= 1.5),
            (f"so does finishing one ({figure['each']:.2f} x)", figure["each"] <= 1.5),
        ]
    return []


# The run.


def measure(made: Path, work: Path, rows: int, only: list[str]) -> tuple[Figures, int]:
    """All figures of one size, and the bytes of its database. The copies are deleted again."""
    found: Figures = {}

    def step(name: str, action: Callable[[], Figures]) -> None:
        if only and name not in only:
            return
        started = time.monotonic()
        figures = action()
        found.update(figures)
        say(f"{rows:,} rows: {name}, {time.monotonic() - started:.0f} s")
        for title, figure in figures.items():
            say(f"  {title}: {cell(figure)}; others waited {waited(figure) or 'not at all'}")

    with _copied(made, work / "store") as store:
        size = store.database_bytes
        store.start = bare_start(work)
        with store.served():
            for function in (status, cold_read, lists, exports, backups, erasures):
                step(function.__name__, lambda action=function: action(store))
        if not only or "heavy" in only:
            store.program("heavy", str(rows * 6 // 5))
        with store.served():
            step("heavy", lambda: heavy(store))
            step("night", lambda: night(store))
        if "`backup`, the first" in found:
            name = found["`backup`, the first"].cost.said.get("name", "latest")
            step("restore", lambda: restore(store, name))
    if rows == SMALL:
        for function in (holds, pending):
            with _copied(made, work / "store") as store:
                store.start = bare_start(work)
                step(function.__name__, lambda action=function, to=store: action(to))
    with _empty(work / "older") as store:
        store.start = bare_start(work)
        step("migration", lambda: migration(store, rows * 6 // 5))
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
    from datetime import UTC, datetime

    from tests.system.growth.filling import Content

    folder.mkdir(parents=True)
    try:
        yield Grown(folder, Content(SMALL, datetime.now(UTC)))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _divided(cost: Cost, count: int) -> Cost:
    return Cost(cost.seconds / count, cost.cpu / count, cost.read // count, cost.written // count)


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
            for rows in sizes:
                make(place / str(rows), rows)
                found[rows] = measure(place / str(rows), Path(work), rows, arguments.only)
            requests_hold = in_cloud(Path(work), arguments)
        finally:
            if arguments.keep is None:
                for rows in sizes:
                    shutil.rmtree(place / str(rows), ignore_errors=True)
    figures_hold = report(found, sizes, arguments.json)
    return 0 if figures_hold and requests_hold else 1


def in_cloud(work: Path, arguments: argparse.Namespace) -> bool:
    """Count requests to DynamoDB and S3, and print them. Returns whether all conditions hold."""
    if arguments.small_only or (arguments.only and "cloud" not in arguments.only):
        return True
    found = []
    for rows in cloud.SIZES:
        with _empty(work / "cloud") as store:
            found.append(cloud.counts(store, rows))
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
