"""Does the write-ahead log stay bounded while several processes write and several read?

    python benchmarks/wal.py [--processes 4] [--readers 6] [--seconds 3600] [--cap-mib 128]
    python benchmarks/wal.py --unbounded --seconds 60    # the control: without the bound

The readers' transactions overlap, so there is hardly a moment at which SQLite would restart
the log by itself. Looks at the size of the log every second. Exits with 1 if it was ever
over the cap, or if a process failed.
"""

import argparse
import multiprocessing
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing.context import SpawnContext, SpawnProcess
from multiprocessing.sharedctypes import Synchronized
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

# The project's folder in place of this file's own.
sys.path[0] = str(Path(__file__).resolve().parent.parent)

MIB = 1024 * 1024
ROWS_PER_PROCESS = 50_000
"""A writer saves these again and again, so that the database stops growing."""

USERS_PER_PROCESS = 10
SAMPLE_SECONDS = 1.0
STOP_SECONDS = 60
READ_SECONDS = (0.005, 0.02)
PROGRESS_SAMPLES = 60


def main() -> None:
    """Write, read and look; print what was seen."""
    arguments = parse_arguments()
    with tempfile.TemporaryDirectory(prefix="wal-") as folder:
        database = Path(folder) / "chat.sqlite3"
        set_up_django(database)
        from django.core.management import call_command

        call_command("migrate", verbosity=0)
        sizes, written, failed = run(arguments, database)
    highest, middle = max(sizes) / MIB, statistics.median(sizes) / MIB
    print(
        f"{written:,} rows written by {arguments.processes} processes in {arguments.seconds} s; "
        f"log: at most {highest:.1f} MiB, median {middle:.1f} MiB, cap {arguments.cap_mib} MiB."
    )
    if failed:
        sys.exit("A process failed; see above.")
    if highest > arguments.cap_mib:
        sys.exit("The log was over the cap.")


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processes", type=int, default=4, help="how many write")
    parser.add_argument("--readers", type=int, default=6, help="how many read")
    parser.add_argument("--unbounded", action="store_true", help="without the bound: the control")
    parser.add_argument("--seconds", type=int, default=3600)
    parser.add_argument("--cap-mib", type=float, default=128)
    return parser.parse_args()


def run(arguments: argparse.Namespace, database: Path) -> tuple[list[int], int, bool]:
    """Run all processes; gives the sizes of the log, the rows written, and if any failed."""
    processes = arguments.processes
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    counters = [context.Value("q", 0) for _ in range(processes)]
    workers = [_start(context, read, database, stop, each) for each in range(arguments.readers)]
    workers += [
        _start(context, write, database, stop, number, counter, arguments.unbounded)
        for number, counter in enumerate(counters)
    ]
    try:
        sizes = sample(workers, arguments.seconds, Path(f"{database}-wal"), counters)
    finally:
        stop.set()
        for worker in workers:
            worker.join(STOP_SECONDS)
            if worker.is_alive():
                worker.kill()
                worker.join()
    written = sum(counter.value for counter in counters)
    return sizes, written, any(worker.exitcode != 0 for worker in workers)


def sample(
    workers: list[SpawnProcess], seconds: int, log: Path, counters: "list[Synchronized[int]]"
) -> list[int]:
    """The size of the log at each second, in bytes. Ends early if a process has ended."""
    sizes = [0]
    end = time.monotonic() + seconds
    while time.monotonic() < end and all(worker.is_alive() for worker in workers):
        time.sleep(SAMPLE_SECONDS)
        sizes.append(log.stat().st_size if log.exists() else 0)
        if len(sizes) % PROGRESS_SAMPLES == 0:
            written = sum(counter.value for counter in counters)
            print(
                f"{len(sizes)} s: {written:,} rows, log {sizes[-1] / MIB:.1f} MiB, "
                f"highest {max(sizes) / MIB:.1f} MiB",
                flush=True,
            )
    return sizes


def write(
    database: Path, stop: Event, number: int, counter: "Synchronized[int]", unbounded: bool
) -> None:
    """Save interactions until told to stop."""
    set_up_django(database)
    from storage import get_storage
    from storage.sqlite import wal

    if unbounded:
        wal.LIMIT = sys.maxsize
    from storage.models import ChatInteraction

    storage = get_storage()
    generator = random.Random(number)
    while not stop.is_set():
        row = counter.value % ROWS_PER_PROCESS
        storage.save_interaction_sync(
            ChatInteraction(
                interaction_id=f"{number}-{row}",
                user_id=user_id(number, row),
                message="What is a write-ahead log? " * 6,
                response="x" * generator.randrange(3600),
                model_used="example-70b-instruct",
                input_tokens=40,
                output_tokens=450,
            )
        )
        counter.value += 1


def read(database: Path, stop: Event, number: int) -> None:
    """Hold one short read transaction after another until told to stop."""
    set_up_django(database)
    from sqlite3 import connect

    generator = random.Random(number)
    connection = connect(database, isolation_level=None)
    while not stop.is_set():
        connection.execute("BEGIN")
        connection.execute("SELECT max(created_at) FROM storage_chatinteraction").fetchone()
        time.sleep(generator.uniform(*READ_SECONDS))
        connection.execute("COMMIT")


def user_id(number: int, row: int) -> str:
    """Whose a writer's row is."""
    return f"user-{number}-{row % USERS_PER_PROCESS}"


def set_up_django(database: Path) -> None:
    """Configure the project for this database, in this process."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
    os.environ["ENVIRONMENT"] = "development"
    os.environ["DATABASE_URL"] = f"sqlite:///{database}"
    os.environ["DATA_DIR"] = str(database.parent)
    import django

    django.setup()


def _start(context: SpawnContext, target: Callable[..., None], *args: Any) -> SpawnProcess:
    process = context.Process(target=target, args=args)
    process.start()
    return process


if __name__ == "__main__":
    main()
