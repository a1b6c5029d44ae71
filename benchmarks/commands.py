"""What export, import and archiving cost: CPU a row beyond the start of the command.

    python benchmarks/commands.py [--rows 50000] [--rounds 3] [--data FILE] [--build FOLDER ...]

Each command is a process of its own, on copies of one database; its start is the same command with
nothing to do. With `--build`, checkouts of this project take turns with this one. Beside
`sqlite3 .dump`, which reads the same rows.
"""

import argparse
import os
import random
import shutil
import statistics
import subprocess
import sys
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
from harness.contestants import cache_folder
from harness.data import load_texts, make_texts

HERE = Path(__file__).resolve().parent.parent
AGES = timedelta(days=75), timedelta(days=45)
"""All rows are due to be archived, and none has expired."""

AT_MOST = {"start": 0.30, "export": 8.0, "import": 55.0, "archive": 85.0}
"""The conditions, on a quiet machine: seconds for the start, µs a row for the others."""

Figures = dict[str, dict[str, list[float]]]


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--data", type=Path, help="JSON lines with message and response")
    parser.add_argument("--build", type=Path, action="append", default=[], metavar="FOLDER")
    arguments = parser.parse_args()
    work = cache_folder() / "commands"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    texts = load_texts(arguments.data) if arguments.data else make_texts()
    (work / "none.jsonl").touch()
    (work / "rows.jsonl").write_bytes(b"".join(lines(texts, arguments.rows)))
    builds = {build.resolve().name: build.resolve() for build in [HERE, *arguments.build]}
    figures: Figures = {}
    for _ in range(arguments.rounds):
        for name, build in builds.items():
            for what, cost in measured(build, work, arguments.rows):
                figures.setdefault(what, {}).setdefault(name, []).append(cost)
    show(figures, list(builds))
    shutil.rmtree(work)


def lines(texts: list[Any], count: int) -> list[bytes]:
    """Lines for the import, oldest first, with ids of version 7."""
    generator = random.Random(1)
    begin, step = datetime.now(UTC) - AGES[0], (AGES[0] - AGES[1]) / count
    made = []
    for number in range(count):
        text, at = texts[number % len(texts)], begin + number * step
        bits = int(at.timestamp() * 1000) << 80 | generator.getrandbits(80)
        record = {
            "interaction_id": str(uuid.UUID(int=bits & ~(0xF << 76) | 7 << 76)),
            "user_id": f"user-{generator.randrange(1000):04}",
            "message": text.message,
            "response": text.response,
            "model_used": "example-70b-instruct",
            "created_at": at.isoformat(),
        }
        made.append(orjson.dumps(record) + b"\n")
    return made


def measured(build: Path, work: Path, rows: int) -> list[tuple[str, float]]:
    """One round of a build: the cost of each command."""
    folder, empty = work / "full", work / "empty"
    for each in (folder, empty):
        shutil.rmtree(each, ignore_errors=True)
    archive = work / "full" / "archive"

    def cost(words: Callable[[str], list[str]]) -> float:
        start = min(cpu(build, empty, words("none")) for _ in range(3))
        return (cpu(build, folder, words("rows")) - start) / rows * 1e6

    def written(name: str) -> Callable[[str], list[str]]:
        return lambda which: ["export_interactions", str(work / f"{which}{name}")]

    def read(which: str) -> list[str]:
        return ["import_interactions", str(work / f"{which}.jsonl")]

    for each in (folder, empty):
        cpu(build, each, ["storage_status"])  # which makes the database
    found = [("import", cost(read)), ("import again", cost(read))]
    found += [("export", cost(written(".out")))]
    found += [(f"export to {name}", cost(written(f".out{name}"))) for name in (".gz", ".zst")]
    dump = ["sqlite3", str(folder / "chat.sqlite3"), ".dump storage_chatinteraction"]
    found.append(("sqlite3 .dump", process(dump) / rows * 1e6))
    if (build / "chat/management/commands/rebuild_search.py").exists():
        cpu(build, folder, ["rebuild_search", "--missing"])  # as servers would have
    found.append(("archive", cost(lambda which: ["archive_interactions"])))
    size = sum(file.stat().st_size for file in archive.rglob("*") if file.is_file())
    found.append(("archive, bytes a row", size / rows))
    found.append(("start", min(cpu(build, empty, written(".out")("none")) for _ in range(3))))
    return found


def cpu(build: Path, folder: Path, words: list[str]) -> float:
    """The CPU seconds of a management command."""
    values = os.environ | {"DATA_DIR": str(folder), "ENVIRONMENT": "development"}
    return process([sys.executable, "manage.py", *words], cwd=build, env=values)


def process(words: list[str], **options: Any) -> float:
    """The CPU seconds of a process. It must succeed."""
    started = subprocess.Popen(
        words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options
    )
    _, status, usage = os.wait4(started.pid, 0)
    started.returncode = status
    if status:
        raise SystemExit(f"{' '.join(words)} ended with {status}.")
    return usage.ru_utime + usage.ru_stime


def show(figures: Figures, builds: list[str]) -> None:
    """A table: medians, and what the other builds cost as multiples of the first."""
    print(f"| CPU, µs a row (start: s) | at most | {' | '.join(builds)} | ratio to the first |")
    print("|---" * (3 + len(builds)) + "|")
    for what, by_build in figures.items():
        medians = [statistics.median(by_build[name]) for name in builds]
        others = [
            statistics.median(b / a for a, b in zip(by_build[builds[0]], other, strict=True))
            for other in (by_build[name] for name in builds[1:])
        ]
        at_most = AT_MOST.get(what, "")
        costs = " | ".join(f"{median:,.2f}" for median in medians)
        print(f"| {what} | {at_most} | {costs} | {', '.join(f'{ratio:.2f}' for ratio in others)} |")


if __name__ == "__main__":
    main()
