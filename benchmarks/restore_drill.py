"""How long does a restore of 1 GB take, beside a plain copy of the same bytes? Is it whole?

    python benchmarks/restore_drill.py [--rows 2000000] [--turns 3] [--keep DIR]

A store of 2,000,000 rows (1.2 GB of database, 0.6 GB of archive) is backed up; then a user is
erased, and the server is lost. Its database is copied and synced, and restored from the backup, in
turns. After each restore SQLite checks the database, and it must have every row and every stub, and
nothing of whoever was erased. Exits with 1 if it has not. It takes 8 GB of disk under
~/.cache/chat-store-bench (or BENCH_CACHE, or DIR, where the store is used again for 20 hours).
"""

import argparse
import shutil
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from harness.contestants import cache_folder
from harness.cost import Cost
from harness.grown import DATABASE, Grown, copied, make

from tests.sqlite import connect
from tests.system.growth.filling import rare_user, user

ERASED = (rare_user(1), user(7))
"""Users with a few archived rows, and with many rows of both tiers."""

ROWS = "SELECT count(*) FROM storage_chatinteraction WHERE user_id NOT IN (?, ?)"
COPY = """
import os, shutil, sys
with open(sys.argv[1], "rb") as source, open(sys.argv[2], "wb") as copy:
    shutil.copyfileobj(source, copy, 1 << 20)
    copy.flush()
    os.fsync(copy.fileno())
"""


@dataclass(frozen=True)
class Turn:
    """The same database once copied and once restored."""

    copy: Cost
    restore: Cost

    def __str__(self) -> str:
        return (
            f"copy {self.copy.seconds:.1f} s, {self.copy.cpu:.1f} s CPU; "
            f"restore {self.restore.seconds:.1f} s, {self.restore.cpu:.1f} s CPU, "
            f"{self.restore.read / 1e9:.2f} GB read, {self.restore.written / 1e9:.2f} GB written, "
            f"{self.restore.memory / 2**20:.0f} MiB with what is mapped"
        )


def rows_in(store: Grown) -> int:
    """The hot rows of those who are not erased. Raises ValueError if the file is damaged."""
    database = connect(str(store.folder / DATABASE))
    try:
        ((said,),) = database.execute("PRAGMA integrity_check(1)")
        if said != "ok":
            raise ValueError(f"The database is damaged: {said}")
        ((count,),) = database.execute(ROWS, ERASED)
    finally:
        database.close()
    return int(count)


def done(store: Grown, *words: str) -> Cost:
    """Run a command. Raises RuntimeError if it fails."""
    cost = store.manage(*words).cost
    if cost.status != 0:
        raise RuntimeError(f"{words[0]}: exit {cost.status}: {cost.error}")
    return cost


def copy_of_database(store: Grown) -> Cost:
    """Copy the file, sync it, and delete the copy."""
    copy = store.folder / "copy"
    words = [sys.executable, "-c", COPY, str(store.folder / DATABASE), str(copy)]
    cost = store.process(words)
    copy.unlink()
    return cost


def drill(store: Grown, turns: int) -> list[Turn]:
    """Raises ValueError if a restored store is not whole, and RuntimeError if a command fails."""
    rows = rows_in(store)
    name = done(store, "backup").said["name"]
    for user_id in ERASED:
        done(store, "erase_user", user_id)
    found = []
    for number in range(turns):
        turn = Turn(copy_of_database(store), done(store, "restore", name, "--yes"))
        found.append(turn)
        print(f"{number + 1}: {turn}", flush=True)
        seen = store.program("restored", *ERASED).cost.said
        if seen["erased"] or seen["missing"] or rows_in(store) != rows:
            raise ValueError(f"The restored store is not whole: {seen}, {rows_in(store)} of {rows}")
    return found


def spread(ratios: Sequence[float]) -> str:
    """The median, and the least and the most."""
    return f"{statistics.median(ratios):.1f} ({min(ratios):.1f}..{max(ratios):.1f})"


def main() -> int:
    """Make the store, restore it, and print the ratio. The status is 1 if it is not whole."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep the store there")
    arguments = parser.parse_args()
    place = arguments.keep or cache_folder() / "growth"
    made = place / str(arguments.rows)
    make(made, arguments.rows)
    with tempfile.TemporaryDirectory(prefix="drill-", dir=place) as folder:
        store = copied(made, Path(folder) / "store")
        print(f"{store.database_bytes / 1e9:.2f} GB of database, {arguments.rows:,} rows")
        try:
            turns = drill(store, arguments.turns)
        except (ValueError, RuntimeError) as error:
            print(f"FAILED: {error}")
            return 1
    print(f"Restore / copy: {spread([each.restore.seconds / each.copy.seconds for each in turns])}")
    if not arguments.keep:
        shutil.rmtree(made)
    return 0


if __name__ == "__main__":
    sys.exit(main())
