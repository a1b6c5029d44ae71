"""What it costs the server that metrics and a line of the log for each request are on.

    python benchmarks/watching.py [--data FILE.jsonl.gz] [--rows 20000] [--rounds 7] [--seconds 1.5]

Two servers take turns: this project's, which counts and logs in JSON (`LOG_FORMAT=json`), and the
same with all of that taken out (harness/unwatched.py), so also without the id of a request. The
goal: a read by id costs at most 1.10 times as much CPU of all processes of the server. With
`--off`, the first server only counts (`LOG_LEVEL=WARNING`).
"""

import argparse
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from harness import wrk
from harness.contestants import CHAT_STORE, Contestant, cache_folder
from harness.data import DataSet, texts_of
from harness.measure import GET, HIT, PAGE, SAVE, Lines, Round, Runner, running
from harness.ratios import Ratios, ratio, save, table

GOAL = 1.10

IDLE_CPU = 0.02
"""CPU seconds in a second of a server that has nothing to do."""

IDLE_SECONDS = 300

OPERATIONS = [GET, HIT, PAGE, SAVE]


@dataclass(frozen=True, eq=False)
class Logging(Contestant):
    """This project with these settings of the log."""

    level: str = "INFO"

    def environment(self, database: Path, port: int = 8000, workers: int = 1) -> dict[str, str]:
        usual = super().environment(database, port, workers)
        folder = str(Path(__file__).resolve().parent)
        return usual | {"LOG_FORMAT": "json", "LOG_LEVEL": self.level, "PYTHONPATH": folder}


def main(words: list[str] | None = None) -> int:
    """Measure, and print the table. Returns 1 if the goal is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.5)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--reads", action="store_true", help="reads by id alone")
    parser.add_argument("--off", action="store_true", help="without lines of the log")
    parser.add_argument("--data", type=Path, help="JSONL with texts to use, may be .gz")
    parser.add_argument("--json", type=Path, help="also write the ratios there")
    arguments = parser.parse_args(words)
    wrk.require()
    cache_folder().mkdir(parents=True, exist_ok=True)
    usual = {**vars(CHAT_STORE), "level": "WARNING" if arguments.off else "INFO"}
    watched = Logging(**usual)
    program = str(Path(__file__).parent / "harness" / "unwatched.py")
    unwatched = replace(
        watched, title="unwatched", serve=lambda contestant, *_: [str(contestant.python), program]
    )
    found = measure([watched, unwatched], arguments)
    ratios = report(found[watched], found[unwatched])
    save(ratios, arguments.json)
    return int(ratios[f"watching/{GET.title}"].median > GOAL)


Rounds = dict[str, list[Round]]


def measure(
    contestants: list[Contestant], arguments: argparse.Namespace
) -> dict[Contestant, Rounds]:
    """The rounds of each, by operation. They take turns within each operation."""
    data_set = DataSet(texts_of(arguments.data), arguments.rows)
    found: dict[Contestant, Rounds] = {one: {} for one in contestants}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=cache_folder())))
        lines = Lines(data_set, folder)
        runners = []
        for number, one in enumerate(contestants):
            own = folder / str(number)
            own.mkdir()
            runners.append(stack.enter_context(running(one, data_set, lines, own)))
        for runner in runners:
            wait_until_idle(runner)
        for number in range(-1, arguments.rounds):  # the first one warms up
            for operation in OPERATIONS[: 2 if arguments.reads else None]:
                for runner in runners if number % 2 else runners[::-1]:
                    measured = runner.measure(operation, arguments.connections, arguments.seconds)
                    if number >= 0:
                        found[runner.contestant].setdefault(operation.title, []).append(measured)
            print(f"Round {number + 1} of {arguments.rounds}", file=sys.stderr)
    return found


def wait_until_idle(runner: Runner) -> None:
    """A server indexes the words of the rows that it finds at its start, which takes a while."""
    deadline = time.monotonic() + IDLE_SECONDS
    used, before = 1.0, runner.server.cpu_seconds()
    while used > IDLE_CPU and time.monotonic() < deadline:
        time.sleep(1)
        now = runner.server.cpu_seconds()
        used, before = now - before, now


def report(watched: Rounds, unwatched: Rounds) -> Ratios:
    """Print the table. Returns the ratios of CPU times, by operation."""
    ratios: Ratios = {}
    rows = []
    for title, rounds in watched.items():
        pairs = zip(rounds, unwatched[title], strict=True)
        ratios[f"watching/{title}"] = found = ratio((on.cpu, off.cpu) for on, off in pairs)
        costs = [f"{median(one.cpu for one in of) * 1e6:.1f}" for of in (rounds, unwatched[title])]
        rows.append([title, *costs, found])
    print(table("Server CPU per request, µs", ["watched", "unwatched", "ratio"], rows))
    return ratios


if __name__ == "__main__":
    sys.exit(main())
