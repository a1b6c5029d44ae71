"""Applies migrations at start, when several processes may start at the same time."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.core.management import call_command
from django.db import connections, transaction
from django.db.migrations.executor import MigrationExecutor

from storage.sqlite import modes, space
from storage.sqlite.statements import Statements


@contextmanager
def migrated_under_lock(alias: str = "default") -> Iterator[None]:
    """Apply missing migrations. Until the block ends, other processes wait to do the same.

    The lock is a file beside the database. The operating system releases it when the process ends.
    """
    database = os.path.realpath(connections[alias].settings_dict["NAME"])
    Path(database).parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(modes.open_lock(database, ".migrate.lock"), "rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        space.prepare(Statements(alias))
        executor = MigrationExecutor(connections[alias])
        if executor.migration_plan(executor.loader.graph.leaf_nodes()):
            # In one transaction, because Django commits some migrations before it records them. If
            # a crash or a full disk comes in between, they can never be applied again. SQLite
            # cannot turn foreign keys off inside a transaction, so that is done before.
            with connections[alias].constraint_checks_disabled(), transaction.atomic(alias):
                call_command("migrate", database=alias, verbosity=0, interactive=False)
        yield


def migrate_under_lock(alias: str = "default") -> None:
    """Apply missing migrations. One process does it while the others wait."""
    with migrated_under_lock(alias):
        pass
