"""Brings the database to the state that this version needs: its tables, and no later ones.

`serve` does it, and every command that uses the database. Several may start at the same time.
"""

import fcntl
import logging
import os
import pkgutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from django.apps import apps
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.db import connections, transaction
from django.db.migrations import Migration as DjangoMigration
from django.db.migrations.recorder import MigrationRecorder

from storage.sql.vendors import is_postgresql
from storage.sqlite import base, in_use, modes, space
from storage.sqlite.in_use import DatabaseInUse
from storage.sqlite.statements import Statements
from storage.startup import data_folder, upgrades

if TYPE_CHECKING:
    from django.db.migrations.executor import MigrationExecutor
    from django.db.migrations.loader import MigrationLoader

logger = logging.getLogger(__name__)

Migration = tuple[str, str]
"""An application's label and the name of one of its migrations."""


@contextmanager
def migrated_under_lock(alias: str = "default") -> Iterator[None]:
    """Apply missing migrations. Until the block ends, other processes wait to do the same.

    The lock is a file beside a SQLite database, and in PostgreSQL one of a connection. Either is
    released when the process ends. Raises ImproperlyConfigured if a later version has migrated the
    database, and DatabaseInUse if others would have to wait long: servers must be stopped first.
    Call it before other threads use the database.
    """
    from django.db.migrations.executor import MigrationExecutor  # most commands need none

    with prepared_under_lock(alias):
        executor = MigrationExecutor(connections[alias])
        _refuse_later_version(executor.loader, alias)
        if plan := _plan(executor):
            _refuse_long_waits(plan, executor.loader, alias)
            # In one transaction, because Django commits some migrations before it records them. If
            # a crash or a full disk comes in between, they can never be applied again. SQLite
            # cannot turn foreign keys off inside a transaction, so that is done before.
            with connections[alias].constraint_checks_disabled(), transaction.atomic(alias):
                _allow_time(alias)
                call_command("migrate", database=alias, verbosity=0, interactive=False)
        yield


def migrate_under_lock(alias: str = "default") -> None:
    """Apply missing migrations. One process does it while the others wait."""
    with migrated_under_lock(alias):
        pass


@contextmanager
def prepared_under_lock(alias: str = "default") -> Iterator[None]:
    """The database exists in this block, set up for tables, and nobody else migrates it.

    Raises ImproperlyConfigured if it cannot be where it is to be.
    """
    if is_postgresql(alias):
        from storage.postgresql.locks import migration_lock  # psycopg may not be installed

        with migration_lock(alias):
            yield
        return
    _let_go(alias)  # who waits here does not use it
    with _lock_file(_file(alias)) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        modes.begin_for_owner(_file(alias))
        space.prepare(Statements(alias))
        yield


def _allow_time(alias: str) -> None:
    """Let statements of this transaction take as long as they need, and wait for others so long."""
    if is_postgresql(alias):
        with connections[alias].cursor() as cursor:
            cursor.execute("SET LOCAL statement_timeout = 0")


def _lock_file(database: Path) -> IO[bytes]:
    try:
        database.parent.mkdir(parents=True, exist_ok=True)
        return os.fdopen(modes.open_lock(str(database), ".migrate.lock"), "rb")
    except OSError as error:
        if data_folder.concerns(settings.DATA_DIR, error):
            raise ImproperlyConfigured(data_folder.advice(settings.DATA_DIR, error)) from None
        raise ImproperlyConfigured(
            f"The database cannot be {database}: {error.strerror}: {error.filename}. Set DATA_DIR "
            "or DATABASE_URL to a place where the user of this process may write."
        ) from None


def bring_up_to_date(alias: str = "default") -> None:
    """As `migrate_under_lock`, and if there is nothing to do, without waiting for others."""
    if not (exists(alias) and _applied(alias) == _on_disk()):
        migrate_under_lock(alias)


def is_up_to_date(alias: str = "default") -> bool:
    """Whether every migration of this version is applied. Those of a later one may be, too."""
    return _on_disk() <= _applied(alias)


def exists(alias: str = "default") -> bool:
    """Whether there is a database. Makes none."""
    return is_postgresql(alias) or _file(alias).exists()


def announce_long_waits(alias: str = "default") -> None:
    """Log what missing migrations will take, if others have to wait long for them."""
    from django.db.migrations.executor import MigrationExecutor

    executor = MigrationExecutor(connections[alias])
    if words := _long_waits(_plan(executor), executor.loader, alias):
        logger.warning("The database is being upgraded: %s", words)


def _plan(executor: "MigrationExecutor") -> list[DjangoMigration]:
    """The missing migrations, in their order."""
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return [migration for migration, _ in plan]


def _refuse_long_waits(plan: list[DjangoMigration], loader: "MigrationLoader", alias: str) -> None:
    if not (words := _long_waits(plan, loader, alias)):
        return
    if not is_postgresql(alias) and _is_used_by_others(alias):
        raise DatabaseInUse(
            f"The database must be upgraded, and a server or another command has it open. {words} "
            "Stop them, then run this again. Or run manage.py migrate, and those that save wait."
        )
    logger.warning("The database is being upgraded: %s", words)


def _is_used_by_others(alias: str) -> bool:
    _let_go(alias)
    return in_use.is_used(str(_file(alias)))


def _long_waits(plan: list[DjangoMigration], loader: "MigrationLoader", alias: str) -> str:
    work = upgrades.large_work(plan, loader, alias)
    return upgrades.in_words(work) if work else ""


def _let_go(alias: str) -> None:
    """Close the database in this process, until it is next used."""
    connection = connections[alias]
    if connection.in_atomic_block:
        return
    connection.close()
    base.close_pool(str(connection.settings_dict["NAME"]))
    in_use.release(str(connection.settings_dict["NAME"]))


def _file(alias: str) -> Path:
    return Path(os.path.realpath(connections[alias].settings_dict["NAME"]))


def _place(alias: str) -> str:
    return "the PostgreSQL database" if is_postgresql(alias) else str(_file(alias))


def _applied(alias: str) -> set[Migration]:
    """The migrations that the database has, of the applications that are installed."""
    labels = {application.label for application in apps.get_app_configs()}
    applied = MigrationRecorder(connections[alias]).applied_migrations()
    return {migration for migration in applied if migration[0] in labels}


def _on_disk() -> set[Migration]:
    """The migrations of all applications, without importing them."""
    return {
        (application.label, module.name)
        for application in apps.get_app_configs()
        for module in pkgutil.iter_modules([str(Path(application.path, "migrations"))])
        if not module.ispkg and module.name[0] not in "_~"
    }


def _refuse_later_version(loader: "MigrationLoader", alias: str) -> None:
    replaced = {name for known in loader.disk_migrations.values() for name in known.replaces}
    later = _applied(alias) - set(loader.disk_migrations) - replaced
    if later:
        names = ", ".join(sorted(f"{label}.{name}" for label, name in later))
        raise ImproperlyConfigured(
            f"A later version has migrated {_place(alias)}: this version lacks {names}. "
            "Start the version that has it, or restore a backup that was made before."
        )
