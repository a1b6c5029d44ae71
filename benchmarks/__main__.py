"""All benchmarks but the long ones (growth.py, wal.py), in at most 20 minutes.

    python benchmarks [--quick] [--data FILE.jsonl.gz] [--json FILE] [--only NAME ...]

Prints what each of them prints, then every goal and whether it holds, and the table of ratios for
the README. The file has all ratios. The exit status is 1 if a benchmark fails or, but for
--quick, a goal.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from harness import wrk
from harness.goals import PREDECESSOR, summary, verdicts
from harness.ratios import Ratios, load, save

HERE = Path(__file__).resolve().parent
MANY = ["--rows", "200000", "2000000"]
FEW = ["--rows", "20000"]

Step = tuple[str, list[str]]
"""A program in this folder, and its arguments."""


def steps(data: list[str], quick: bool) -> list[Step]:
    """What runs, with these arguments for real texts."""
    if quick:
        api = [*FEW, "--rounds", "1", "--seconds", "0.5"]
        return [
            ("storage_calls.py", [*FEW, "--rounds", "2", *data]),
            ("writers.py", ["--rounds", "2"]),
            ("cloud_calls.py", ["--rounds", "1"]),
            ("cloud_requests.py", ["--rounds", "1", "--requests", "50"]),
            ("latencies.py", ["--rounds", "1"]),
            ("cache_protocol.py", ["--rounds", "1"]),
            (
                "cache_latency.py",
                ["--rounds", "2", "--requests", "50", "--interactions", "50", *data],
            ),
            ("capacity.py", ["--interactions", "100", *data]),
            ("partitions.py", ["--seconds", "120"]),
            ("lifecycle.py", [*FEW, "40000", "--rounds", "1", "--whole", "2000", "5000", *data]),
            ("memory.py", [*FEW, "--requests", "10000", *data]),
            ("api.py", [*api, *data]),
        ]
    api = ["--seconds", "1.5"]
    made_up: list[Step] = [("api.py", [*api, "--rounds", "2"])] if data else []
    return [
        ("storage_calls.py", data),
        ("storage_calls.py", ["--short", *MANY, "--rounds", "5"]),
        ("writers.py", []),
        ("cloud_calls.py", ["--rounds", "3"]),
        ("cloud_requests.py", ["--rounds", "3"]),
        ("latencies.py", ["--one-by-one"]),
        ("cache_protocol.py", ["--rounds", "3"]),
        ("cache_latency.py", ["--rounds", "4", *data]),
        ("capacity.py", data),
        ("partitions.py", []),
        ("lifecycle.py", ["--rows", "10000", "100000", "--rounds", "2", *data]),
        ("memory.py", data),
        ("api.py", [*api, "--rounds", "3", "--build", PREDECESSOR, *data]),
        ("api.py", [*api, "--rounds", "2", "--workers", "2", "4", *data]),
        *made_up,
    ]


def main() -> int:
    """Run them, one after the other."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a look at whether all of them work")
    parser.add_argument("--data", type=Path, help="JSONL with texts to use, may be .gz")
    parser.add_argument("--json", type=Path, help="also write all ratios there")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="programs, such as api.py")
    arguments = parser.parse_args()
    wrk.require()
    data = ["--data", str(arguments.data.resolve())] if arguments.data else []
    found: Ratios = {}
    failed = []
    for name, words in steps(data, arguments.quick):
        if arguments.only and name not in arguments.only:
            continue
        ratios = run(name, words)
        found |= ratios or {}
        failed += [name] if ratios is None else []
    texts = "real" if data else "made-up"
    table, all_hold = verdicts(found, texts)
    print(f"\n## Goals\n\n{table}\n\n## For the README\n\n{summary(found, texts)}")
    save(found, arguments.json)
    if failed:
        print(f"\nFAILED: {', '.join(failed)}")
    return 0 if (all_hold or arguments.quick) and not failed else 1


def run(name: str, words: list[str]) -> Ratios | None:
    """The ratios that a program has found, or None if it failed."""
    print(f"\n## {name} {' '.join(words)}\n", flush=True)
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "ratios.json")
        program = [sys.executable, str(HERE / name), *words, "--json", str(file)]
        done = subprocess.run(program, check=False)
        print(f"\n{name}: {time.monotonic() - started:.0f} s", flush=True)
        return None if done.returncode else load(file)


if __name__ == "__main__":
    sys.exit(main())
