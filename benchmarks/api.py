"""What a request costs this project's server, beside two that others would write.

    python benchmarks/api.py [--rows 200000] [--requests 400] [--rounds 5] [--data FILE.jsonl.gz]

Prints two Markdown tables. Exits with an error if any answer is wrong. See README.md.
"""

import argparse
import signal
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from types import FrameType

from harness.contestants import CONTESTANTS, Contestant, cache_folder
from harness.data import DataSet, load_texts, make_texts
from harness.measure import OPERATIONS, running
from harness.report import Results, cpu_table, latency_table

WARM_UP = 100
ROWS_MIN = 10_000
REQUESTS_MIN = 20


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=200_000, help="rows in each database")
    parser.add_argument("--requests", type=int, default=400, help="page requests per round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--data", type=Path, help="JSONL with texts to use, may be .gz")
    parser.add_argument(
        "--only", action="append", choices=list(CONTESTANTS), help="repeat for several"
    )
    parser.add_argument("--time-limit", type=int, default=1800, help="seconds for everything")
    arguments = parser.parse_args()
    if arguments.rows < ROWS_MIN or arguments.requests < REQUESTS_MIN or arguments.rounds < 1:
        parser.error(f"at least: --rows {ROWS_MIN}, --requests {REQUESTS_MIN}, --rounds 1")
    return arguments


def main() -> None:
    """Measure, and print the tables."""
    arguments = parse_arguments()
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGALRM, stop)
    signal.alarm(arguments.time_limit)
    texts = load_texts(arguments.data) if arguments.data else make_texts()
    data_set = DataSet(texts, arguments.rows)
    contestants = [CONTESTANTS[slug] for slug in arguments.only or CONTESTANTS]
    cache_folder().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache_folder(), prefix="run-") as folder:
        results = measure(contestants, data_set, Path(folder), arguments)
    print(cpu_table(results, contestants), latency_table(results, contestants), sep="\n\n")


def measure(
    contestants: list[Contestant], data_set: DataSet, folder: Path, arguments: argparse.Namespace
) -> Results:
    """All rounds. The servers take turns within each operation, so that noise meets them all."""
    results: Results = {}
    with ExitStack() as stack:
        runners = [
            stack.enter_context(running(each, data_set, folder, WARM_UP)) for each in contestants
        ]
        for number in range(arguments.rounds):
            started = time.monotonic()
            turn = number % len(runners)
            for operation in OPERATIONS:
                requests = max(1, int(arguments.requests * operation.share))
                for runner in runners[turn:] + runners[:turn]:
                    measured = runner.measure(operation, requests)
                    rounds = results.setdefault((runner.contestant.slug, operation.title), [])
                    rounds.append(measured)
            seconds = time.monotonic() - started
            print(f"Round {number + 1} of {arguments.rounds}: {seconds:.0f} s", file=sys.stderr)
    return results


def stop(number: int, _frame: FrameType | None) -> None:
    """End the program in the orderly way, which stops the servers."""
    raise SystemExit(f"Stopped by {signal.Signals(number).name}.")


if __name__ == "__main__":
    main()
