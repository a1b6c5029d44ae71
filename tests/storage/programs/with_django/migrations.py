"""A process that starts: it brings the schema up to date, at the same moment as another one.

The argument is the file to wait for. Prints `ready`, waits until the file is there, and
prints `done` when it has migrated.
"""

import sys
import time
from pathlib import Path

from django.db import connection
from django.db.migrations.recorder import MigrationRecorder

from storage.startup import schema as migrate


def wait_for(file: Path) -> None:
    for _ in range(3000):
        if file.exists():
            return
        time.sleep(0.01)
    raise TimeoutError(file)


def main() -> None:
    start = Path(sys.argv[1])
    print("ready", flush=True)
    wait_for(start)
    migrate.migrate_under_lock()
    applied = MigrationRecorder(connection).applied_migrations()
    print("done", len(applied), flush=True)


if __name__ == "__main__":
    main()
