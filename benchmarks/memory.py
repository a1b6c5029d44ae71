"""Does a worker keep what it answered? Its memory after 10,000 requests and after 100,000.

    python benchmarks/memory.py [--requests 100000] [--rows 200000] [--data FILE.jsonl.gz]

Of ten requests seven are gets of random ids, and one each the same id, a page and a save. The
memory is what the worker process has resident once all that they lead to is done, too.
"""

import argparse
import tempfile
from pathlib import Path

from harness import wrk
from harness.contestants import CHAT_STORE, cache_folder
from harness.data import DataSet, texts_of
from harness.measure import GET, HIT, PAGE, SAVE, Lines, Runner, running
from harness.processes import process_tree, resident_bytes
from harness.ratios import Ratio, save

CONNECTIONS = 16
SHARES = {GET: 0.7, HIT: 0.1, PAGE: 0.1, SAVE: 0.1}
STEPS = 10
"""The first memory is that after a tenth of the requests."""


def main(words: list[str] | None = None) -> None:
    """Measure, and print the memory after each tenth of the requests."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--data", type=Path, help="JSONL with texts to use, may be .gz")
    parser.add_argument("--json", type=Path, help="also write the ratio there")
    arguments = parser.parse_args(words)
    wrk.require()
    cache_folder().mkdir(parents=True, exist_ok=True)
    data_set = DataSet(texts_of(arguments.data), arguments.rows)
    with tempfile.TemporaryDirectory(dir=cache_folder(), prefix="run-") as folder:
        lines = Lines(data_set, Path(folder))
        with running(CHAT_STORE, data_set, lines, lines.folder) as runner:
            found = [memory_after(runner, arguments.requests // STEPS) for _ in range(STEPS)]
    print(", ".join(f"{size / 2**20:.1f}" for size in found), "MiB")
    ratio = found[-1] / found[0]
    print(f"{ratio:.3f} times as much after {STEPS} times as many requests")
    save({"memory": Ratio(ratio, ratio, ratio)}, arguments.json)


def memory_after(runner: Runner, requests: int) -> int:
    """The bytes of the worker, which is the largest process, after so many more requests."""
    for operation, share in SHARES.items():
        runner.send(operation, CONNECTIONS, requests=int(requests * share))
    runner.server.wait_until_idle()
    return max(map(resident_bytes, process_tree(runner.server.process.pid)))


if __name__ == "__main__":
    main()
