"""Many threads write one row each: group commit beside one commit a row, by raw sqlite3.

    python benchmarks/writers.py [--writers 16] [--rounds 7] [--fsync-ms 0 2] [--rows 20000]

Both write to the same database with the same durability; raw sqlite3 through one connection that
the threads share. For each number of --fsync-ms the program runs again with a small library, made
by a C compiler and loaded before the others, that lets each wait for the disk take so much longer
(Linux). That no raw commit takes less is checked first.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from harness.data import make_texts
from harness.local import INSERT, Rows, connect, set_up
from harness.ratios import Ratios, load, ratio, save, table

ALONE = 100
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


class Outcome(NamedTuple):
    """Rows a second, and the seconds that each took, sorted."""

    rate: float
    seconds: list[float]

    @property
    def p99(self) -> float:
        return self.seconds[int(0.99 * len(self.seconds))]


def main(words: list[str] | None = None) -> None:
    """Measure with each delay, and print a table of ratios."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=20_000, help="in the database before")
    parser.add_argument("--writers", type=int, default=16)
    parser.add_argument("--each", type=int, default=60, help="rows of a writer in a round")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--fsync-ms", type=float, nargs="+", default=[0, 2])
    parser.add_argument("--json", type=Path, help="also write the ratios there")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args(words)
    found: Ratios = {}
    with tempfile.TemporaryDirectory() as directory:
        if arguments.here:
            found = measure(Path(directory), arguments)
        else:
            for delay in arguments.fsync_ms:
                found |= on_a_slow_disk(Path(directory), delay, arguments)
            rows = [[name.removeprefix("writers/"), value] for name, value in found.items()]
            print(f"\n{table('group commit / one commit a row', ['ratio (min..max)'], rows)}")
    save(found, arguments.json)


def on_a_slow_disk(directory: Path, delay: float, arguments: argparse.Namespace) -> Ratios:
    """Run this program in a process of its own, where each fsync takes so much longer."""
    source, library = directory / "slow_disk.c", directory / SLOW_DISK
    environment = dict(os.environ)
    if delay:
        source.write_text(SLOW_SOURCE.format(microseconds=int(delay * 1000)))
        subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
        environment["LD_PRELOAD"] = str(library)
    file = directory / "ratios.json"
    program = [sys.executable, __file__, "--here", "--json", file, "--fsync-ms", str(delay)]
    for name in ("rows", "writers", "each", "rounds"):
        program += [f"--{name}", str(getattr(arguments, name))]
    subprocess.run(program, env=environment, check=True)
    return load(file)


def measure(directory: Path, arguments: argparse.Namespace) -> Ratios:
    """The ratios of all rounds, ours and raw sqlite3 in turns."""
    path, rows = directory / "writers.sqlite3", Rows(make_texts())
    set_up(path)
    rows.fill(path, 0, arguments.rows)
    from storage import get_storage

    storage, connection, lock = get_storage(), connect(path), threading.Lock()

    def insert() -> None:
        with lock:
            connection.execute(INSERT, rows.new())

    def create() -> None:
        storage.create_interaction_sync(rows.interaction())

    (delay,) = arguments.fsync_ms
    alone = together(1, insert, ALONE).seconds
    if alone[0] < delay / 1000:
        raise RuntimeError(f"A commit took {alone[0] * 1000} ms: fsync is not delayed.")
    print(f"fsync + {delay:g} ms: a raw commit alone takes {median(alone) * 1000:.2f} ms")
    writers, each = arguments.writers, arguments.each
    pairs = [
        (together(writers, create, each), together(writers, insert, each))
        for _ in range(arguments.rounds + 1)
    ][1:]  # the first warms up
    prefix = f"writers/{delay:g} ms"
    return {
        f"{prefix}/rate": ratio((ours.rate, raw.rate) for ours, raw in pairs),
        f"{prefix}/p99": ratio((ours.p99, raw.p99) for ours, raw in pairs),
    }


def together(writers: int, write: Callable[[], Any], each: int) -> Outcome:
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
    return Outcome(writers * each / (time.perf_counter() - started), sorted(taken))


if __name__ == "__main__":
    main()
