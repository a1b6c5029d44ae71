"""What a request costs this project's server, beside servers that others would write.

    python benchmarks/api.py [--data FILE.jsonl.gz] [--rows 200000] [--rounds 5] [--seconds 2]
                             [--only SLUG ...] [--build REVISION|FOLDER] [--workers 1 2 4]

wrk keeps 16 requests in flight. Prints Markdown tables for each number of worker processes; with
more than one, of this project, tuned FastAPI and builds alone. Exits with an error if any answer
is wrong, or a database does not hold exactly what was acknowledged. See README.md.
"""

import argparse
import signal
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from types import FrameType

from harness import wrk
from harness.contestants import (
    CONTESTANTS,
    FASTAPI,
    PLAIN_DRF,
    Contestant,
    build,
    cache_folder,
)
from harness.data import DataSet, texts_of
from harness.measure import OPERATIONS, Lines, running
from harness.ratios import Ratios, save
from harness.report import Results, ratios, tables

WARM_UP_SHARE = 1 / 4
"""Of a round, before the first one."""

ROWS_MIN = 10_000


def parse_arguments(words: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=200_000, help="rows in each database")
    parser.add_argument("--seconds", type=float, default=2, help="of an operation in a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--connections", type=int, default=16, help="requests in flight")
    parser.add_argument("--workers", type=int, nargs="+", default=[1])
    parser.add_argument("--data", type=Path, help="JSONL with texts to use, may be .gz")
    parser.add_argument("--only", nargs="+", choices=list(CONTESTANTS), default=list(CONTESTANTS))
    parser.add_argument("--build", action="append", default=[], help="of this project, besides")
    parser.add_argument("--json", type=Path, help="also write the ratios there")
    parser.add_argument("--time-limit", type=int, default=3600, help="seconds for everything")
    arguments = parser.parse_args(words)
    if arguments.rows < ROWS_MIN or arguments.seconds <= 0 or arguments.rounds < 1:
        parser.error(f"at least: --rows {ROWS_MIN}, --seconds 0.1, --rounds 1")
    return arguments


def main(words: list[str] | None = None) -> None:
    """Measure, and print the tables."""
    arguments = parse_arguments(words)
    wrk.require()
    for number in (signal.SIGTERM, signal.SIGALRM):
        signal.signal(number, stop)
    signal.alarm(arguments.time_limit)
    data_set = DataSet(texts_of(arguments.data), arguments.rows)
    contestants = [CONTESTANTS[slug] for slug in arguments.only] + list(map(build, arguments.build))
    cache_folder().mkdir(parents=True, exist_ok=True)
    found: Ratios = {}
    with tempfile.TemporaryDirectory(dir=cache_folder(), prefix="run-") as folder:
        lines = Lines(data_set, Path(folder))
        for workers in arguments.workers:
            results = measure(contestants, data_set, lines, workers, arguments)
            print(f"\n{workers} worker(s), {arguments.connections} requests in flight:\n")
            print(tables(results), flush=True)
            texts_are = "real" if arguments.data else "made-up"
            found |= ratios(results, f"api/{texts_are}/{workers}")
    save(found, arguments.json)


def measure(
    contestants: list[Contestant],
    data_set: DataSet,
    lines: Lines,
    workers: int,
    arguments: argparse.Namespace,
) -> Results:
    """All rounds. The servers take turns within each operation, so that noise meets them all."""
    if workers > 1:
        contestants = [one for one in contestants if one not in (PLAIN_DRF, FASTAPI)]
    connections, seconds = arguments.connections, arguments.seconds
    results: Results = {}
    with ExitStack() as stack:
        runners = [
            stack.enter_context(running(contestant, data_set, lines, lines.folder, workers))
            for contestant in contestants
        ]
        for runner in runners:
            for operation in OPERATIONS:
                runner.measure(operation, connections, seconds * WARM_UP_SHARE)
        for number in range(arguments.rounds):
            started = time.monotonic()
            turn = number % len(runners)
            for operation in OPERATIONS:
                for runner in runners[turn:] + runners[:turn]:
                    measured = runner.measure(operation, connections, seconds)
                    results.setdefault((runner.contestant, operation), []).append(measured)
            took = time.monotonic() - started
            print(f"Round {number + 1} of {arguments.rounds}: {took:.0f} s", file=sys.stderr)
    return results


def stop(number: int, _frame: FrameType | None) -> None:
    """End the program in the orderly way, which stops the servers."""
    raise SystemExit(f"Stopped by {signal.Signals(number).name}.")


if __name__ == "__main__":
    main()
