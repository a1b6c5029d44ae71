"""Bringing the database up to date at start, when several processes may start at once."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.core.management import call_command
from django.db import connections, transaction
from django.db.migrations.executor import MigrationExecutor

from storage.sqlite import space
from storage.sqlite.statements import Statements


@contextmanager
def migrated_under_lock(alias: str = "default") -> Iterator[None]:
    """Apply what is missing; within, no other process is starting on this database.

    The lock is a file beside the database. The operating system lets go of it when the
    process ends, however it ends.
    """
    database = Path(connections[alias].settings_dict["NAME"])
    database.parent.mkdir(parents=True, exist_ok=True)
    with Path(f"{database}.migrate.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        space.prepare(Statements(alias))
        executor = MigrationExecutor(connections[alias])
        if executor.migration_plan(executor.loader.graph.leaf_nodes()):
            # As one transaction: Django commits some migrations before it records them, and what
            # a crash or a full disk leaves in between can never be applied again. SQLite cannot
            # turn foreign keys off within a transaction, so it is done before.
            with connections[alias].constraint_checks_disabled(), transaction.atomic(alias):
                call_command("migrate", database=alias, verbosity=0, interactive=False)
        yield


def migrate_under_lock(alias: str = "default") -> None:
    """Apply what is missing; one process does it while the others wait."""
    with migrated_under_lock(alias):
        pass
