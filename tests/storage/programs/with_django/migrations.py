"""A process that starts: it brings the schema up to date, at the same moment as another one.

Arguments: `locked` or `unlocked` (the control: the lock does nothing), and the file to wait
for. Prints `ready`, waits until the file is there, and prints `done` when it has migrated.
"""

import os
import sys
import time
from pathlib import Path

from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.recorder import MigrationRecorder

from storage import migrate


def wait_for(file: Path) -> None:
    for _ in range(3000):
        if file.exists():
            return
        time.sleep(0.01)
    raise TimeoutError(file)


def remove_the_lock(folder: Path) -> None:
    """No lock; and both processes have planned everything before either of them applies any."""
    apply = MigrationExecutor.migrate

    def apply_when_both_have_planned(*args, **options):
        (folder / f"planned-{os.getpid()}").touch()
        while len(list(folder.glob("planned-*"))) < 2:
            time.sleep(0.01)
        return apply(*args, **options)

    migrate.fcntl.flock = lambda *args: None
    MigrationExecutor.migrate = apply_when_both_have_planned


def main() -> None:
    lock, start = sys.argv[1], Path(sys.argv[2])
    if lock == "unlocked":
        remove_the_lock(start.parent)
    print("ready", flush=True)
    wait_for(start)
    migrate.migrate_under_lock()
    applied = MigrationRecorder(connection).applied_migrations()
    print("done", len(applied), flush=True)


if __name__ == "__main__":
    main()
