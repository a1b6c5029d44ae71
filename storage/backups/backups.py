"""Backups of what `ENVIRONMENT` selects: of the SQL database, and in production of the table, too.

The SQL database has everything in development; in production it has staff users, sessions and API
keys, and DynamoDB keeps the past of the table itself.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.conf import settings
from django.core.cache.backends.dummy import DummyCache
from django.core.exceptions import ImproperlyConfigured
from django.db import connections, router
from django.db.migrations.loader import MigrationLoader

from chat.maintenance import runs
from storage.archive.archive import configured_archive
from storage.backups import replacing
from storage.backups.files import LATEST as LATEST
from storage.backups.files import Backup, BackupDamaged, BackupRefused, Backups
from storage.backups.replacing import NotRestored
from storage.exceptions import StorageUnavailable
from storage.models import Lock
from storage.records.json import format_time
from storage.sqlite import in_use
from storage.startup import selection
from storage.startup.schema import migrate_under_lock

if TYPE_CHECKING:
    from storage.dynamodb.client import Client
    from storage.interface import Storage

ALL = "all"


@dataclass(frozen=True)
class Candidate:
    """A restored copy that nobody reads yet."""

    storage: "Storage | None"
    """Its interactions, past every cache; None if it has none, as SQLite in production."""
    database: str | None
    """Django's alias of the copy, with API keys and the like; None for a table of DynamoDB."""


BeforeLive = Callable[[Candidate], int]
"""Erases from the copy who was erased since; gives how many interactions and other rows went."""


@dataclass
class Taken:
    """What a run of backup has done."""

    name: str = ""
    bytes: int = 0
    rows: int = 0
    expires_at: str = ""
    deleted: list[str] = field(default_factory=list)
    """Backups that have expired."""
    recovery: dict[str, Any] | None = None
    """In production: the times that the table can be restored to."""
    remaining: int = 0


@dataclass
class Verified:
    """What a run of verify_backup has found."""

    verified: int = 0
    """Backups that are what was written."""
    damaged: list[str] = field(default_factory=list)
    """The files that are not."""
    rows: int = 0
    bytes: int = 0
    remaining: int = 0


@dataclass
class Restored:
    """What a run of restore has done."""

    name: str = ""
    """The backup, or the new table."""
    rows: int | None = None
    erased: int = 0
    """Interactions and other rows of those who were erased since."""
    kept: str | None = None
    """The file with the database of before."""
    done: list[str] = field(default_factory=list)
    """What was done to the table."""
    remaining: int = 0


def take(now: datetime, report: Taken, *, dry_run: bool = False) -> None:
    """Back up; fills `report`. Raises StorageError; no backup that has not expired is touched."""
    database, backups = _database(), _backups()
    if dry_run:
        report.deleted = [name for name, time in _copies() if time <= now]
        return
    replacing.remove_leftovers(database)
    backup, report.deleted = backups.take(database, now)
    report.name, report.bytes = backup.name, backup.size
    report.rows = sum(backup.content.tables.values())
    report.expires_at = format_time(backup.expires_at)
    for path, since in replacing.kept(database):
        if since + _keep() <= now:
            path.unlink(missing_ok=True)
            report.deleted.append(path.name)
    if settings.ENVIRONMENT == "production":
        report.recovery = _recovery()


def verify(wanted: str, report: Verified, step: Callable[[], None]) -> None:
    """Read backups, all of them, and compare them with their manifests; fills `report`.

    `wanted` is a name, `latest` or `all`. Calls `step` before each. Raises BackupRefused, when
    all were read, with a line for each that is damaged; or if there are none.
    """
    backups = _backups()
    with backups.reading():
        names = backups.names() if wanted == ALL else [backups.named(wanted)]
        names = names or [backups.named(LATEST)]
        problems = []
        for done, name in enumerate(names):
            report.remaining = len(names) - done
            step()
            try:
                backup = backups.verify(name)
            except BackupDamaged as error:
                report.damaged.append(error.name)
                problems.append(error)
            else:
                report.verified += 1
                report.rows += sum(backup.content.tables.values())
                report.bytes += backup.size
        report.remaining = 0
        if problems:
            raise BackupRefused("\n".join(str(problem) for problem in problems))


def restore(
    wanted: str,
    now: datetime,
    report: Restored,
    *,
    before_live: BeforeLive,
    dry_run: bool = False,
    migrate: bool = False,
    keep_old: bool = False,
    expired: bool = False,
) -> None:
    """Put a backup in the place of the SQL database; fills `report`.

    `migrate` brings one of an older version up to date, `expired` allows one that should be gone.
    Raises StorageError; the database is as it was, then.
    """
    backups = _backups()
    with backups.reading():
        backup = backups.manifest(backups.named(wanted))
        report.name = backup.name
        if backup.expires_at <= now and not expired:
            raise NotRestored(
                f"{backup.name} has expired at {format_time(backup.expires_at)}. Who was erased "
                "longer ago may not be known any more. If there is nothing else: --expired"
            )
        _check_schema(backup, migrate)
        report.rows = sum(backup.content.tables.values())
        if dry_run:
            backups.verify(backup.name)
            return

        def change(alias: str) -> None:
            if migrate:
                migrate_under_lock(alias)
            _check_tables(alias)
            if settings.ENVIRONMENT != "production":
                # Of a run at the time of the backup. Which archive it is, stays known.
                Lock.objects.using(alias).filter(name=runs.LOCK).delete()
            report.erased = before_live(Candidate(_local(alias), alias))

        kept = replacing.replace(_database(), backups, backup, change, keep_old)
    report.kept = str(kept) if kept else None


def restore_table(
    name: str,
    at: datetime | None,
    report: Restored,
    *,
    wait: Callable[[], None],
    before_live: BeforeLive,
    dry_run: bool = False,
) -> None:
    """Make a table `name` from production's as it was `at`, or of late; fills `report`.

    It takes DynamoDB a while: `wait` pauses, and may raise; the next call goes on then.
    """
    from storage.backups import recovery

    source, target = _client(), _client()
    target.table = report.name = name
    if name == source.table:
        raise NotRestored("A table is restored into a new one. Choose another name.")

    def change() -> None:
        cloud = selection.cloud_storage(target, DummyCache("", {}), configured_archive())
        report.erased = before_live(Candidate(cloud, None))

    with _advised():
        if dry_run:
            recovery.check(source, target, at)
        else:
            report.done = recovery.restore(source, target, at, wait, change)


def keep_restores_out() -> None:
    """No restore begins until this process ends, or the program that it becomes."""
    in_use.hold_after_exec(str(_database()))


def copies() -> list[dict[str, str]]:
    """Which backups have copies of what is deleted now, and when each is gone, at the latest.

    Asks no other service: an erasure of the API says it, too, and may not look at the table.
    """
    found = _copies()
    if settings.ENVIRONMENT == "production":
        from storage.backups.recovery import RECOVERY_DAYS

        gone_by = datetime.now(UTC) + timedelta(days=RECOVERY_DAYS)
        found.append((f"point-in-time recovery of {settings.DYNAMODB_TABLE}", gone_by))
    return [{"name": name, "expires_at": format_time(time)} for name, time in found]


def newest() -> str | None:
    """The name of the newest backup of the SQL database; None if there is none."""
    names = _backups().names()
    return names[-1] if names else None


def _copies() -> list[tuple[str, datetime]]:
    kept = replacing.kept(_database())
    return _backups().copies() + [(path.name, since + _keep()) for path, since in kept]


def _check_schema(backup: Backup, migrate: bool) -> None:
    applied = set(backup.content.schema)
    known = {".".join(each) for each in MigrationLoader(None).disk_migrations}
    if unknown := sorted(applied - known):
        raise NotRestored(
            f"{backup.name} is of another version, which has {', '.join(unknown)}. "
            "Restore it with that version."
        )
    if (missing := sorted(known - applied)) and not migrate:
        raise NotRestored(
            f"{backup.name} is of an older version, without {', '.join(missing)}. Add --migrate "
            "to bring it up to date before it is used."
        )


def _check_tables(alias: str) -> None:
    found = connections[alias].introspection.table_names()
    models = apps.get_models(include_auto_created=True)
    for model in models:
        expected = model._meta.managed and router.allow_migrate_model(alias, model)
        if expected and model._meta.db_table not in found:
            raise NotRestored(
                f"The backup has no table {model._meta.db_table}: it is of another ENVIRONMENT."
            )


def _local(alias: str) -> "Storage | None":
    if settings.ENVIRONMENT == "production":
        return None
    return selection.local_storage(alias, DummyCache("", {}), configured_archive())


def _recovery() -> dict[str, Any]:
    from storage.backups import recovery

    with _advised():
        window = recovery.window(_client())
    return {
        "table": settings.DYNAMODB_TABLE,
        "earliest": format_time(window.earliest),
        "latest": format_time(window.latest),
        "days": window.days,
    }


def _client() -> "Client":
    from storage.dynamodb.configured import configured_client

    try:
        return configured_client()
    except ImproperlyConfigured as error:
        raise NotRestored(str(error)) from error


@contextmanager
def _advised() -> Iterator[None]:
    """What DynamoDB refuses, with what an operator can do."""
    from storage.dynamodb.advice import advice

    try:
        yield
    except StorageUnavailable as error:
        raise NotRestored(advice(error)) from error


def _database() -> Path:
    return Path(connections["default"].settings_dict["NAME"])


def _keep() -> timedelta:
    return timedelta(days=settings.BACKUP_KEEP_DAYS)


def _backups() -> Backups:
    return Backups(settings.BACKUP_DIR, _keep())
