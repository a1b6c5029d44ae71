"""Backups of what `ENVIRONMENT` selects: of the SQL database, and in production of the table, too.

The SQL database has everything in development; in production it has staff users, sessions and API
keys, and DynamoDB keeps the past of the table itself.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.conf import settings
from django.core.cache.backends.dummy import DummyCache
from django.db import connections, router
from django.db.migrations.loader import MigrationLoader

from storage.archive.archive import configured_archive
from storage.migrate import migrate_under_lock
from storage.models import Lock
from storage.records import format_time
from storage.sqlite import in_use, replacing
from storage.sqlite.backups import LATEST, Backup, BackupDamaged, Backups
from storage.sqlite.replacing import NotRestored

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


@dataclass(frozen=True)
class Verified:
    """What verify_backup finds of one backup."""

    name: str
    rows: int | None = None
    bytes: int | None = None
    expires_at: str | None = None
    problem: str | None = None
    """Which file is damaged, and how it shows; None if all is well."""

    def as_dict(self) -> dict[str, Any]:
        """What JSON can hold."""
        return asdict(self)


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


def nobody(candidate: Candidate) -> int:
    """Erases nobody."""
    return 0


def take(now: datetime, report: Taken) -> None:
    """Back up; fills `report`. Raises StorageError; an older backup is never the worse for it."""
    database = _database()
    replacing.remove_leftovers(database)
    backup, report.deleted = _backups().take(database, now)
    report.name, report.bytes = backup.name, backup.size
    report.rows = sum(backup.content.tables.values())
    report.expires_at = format_time(backup.expires_at)
    for path, since in replacing.kept(database):
        if since + _keep() <= now:
            path.unlink(missing_ok=True)
            report.deleted.append(path.name)
    if settings.ENVIRONMENT == "production":
        report.recovery = _recovery()


def names(wanted: str) -> list[str]:
    """The backups that `latest`, `all` or a name stands for. Raises BackupRefused if none."""
    backups = _backups()
    if wanted != ALL:
        return [backups.named(wanted)]
    return backups.names() or [backups.named(LATEST)]


def verify(found: list[str]) -> Iterator[Verified]:
    """Read each backup, all of it, and compare it with its manifest."""
    backups = _backups()
    with backups.reading():
        for name in found:
            try:
                backup = backups.verify(name)
            except BackupDamaged as error:
                yield Verified(name, problem=str(error))
            else:
                rows = sum(backup.content.tables.values())
                yield Verified(name, rows, backup.size, format_time(backup.expires_at))


def restore(
    wanted: str,
    now: datetime,
    report: Restored,
    *,
    before_live: BeforeLive = nobody,
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

        def change(alias: str) -> None:
            if migrate:
                migrate_under_lock(alias)
            _check_tables(alias)
            if settings.ENVIRONMENT != "production":
                Lock.objects.using(alias).all().delete()  # of runs at the time of the backup
            report.erased = before_live(Candidate(_local(alias), alias))

        kept = replacing.replace(_database(), backups, backup, change, keep_old)
    report.kept = str(kept) if kept else None
    report.rows = sum(backup.content.tables.values())


def restore_table(
    name: str,
    at: datetime | None,
    report: Restored,
    *,
    wait: Callable[[], None],
    before_live: BeforeLive = nobody,
) -> None:
    """Make a table `name` from production's as it was `at`, or of late; fills `report`.

    It takes DynamoDB a while: `wait` pauses, and may raise; the next call goes on then.
    """
    from storage.dynamodb import recovery
    from storage.dynamodb.configured import configured_client
    from storage.dynamodb.storage import CloudStorage

    source, target = configured_client(), configured_client()
    if name == source.table:
        raise NotRestored("A table is restored into a new one. Choose another name.")
    target.table = report.name = name

    def change() -> None:
        cloud = CloudStorage(
            target, DummyCache("", {}), settings.DYNAMODB_CONNECTIONS, configured_archive()
        )
        report.erased = before_live(Candidate(cloud, None))

    report.done = recovery.restore(source, target, at, wait, change)


def keep_restores_out() -> None:
    """No restore begins until this process ends, or the program that it becomes."""
    in_use.hold_after_exec(str(_database()))


def copies() -> list[dict[str, str]]:
    """Which backups have copies of what is deleted now, and when each is gone, at the latest.

    Asks no other service: an erasure of the API says it, too, and may not look at the table.
    """
    from django.utils import timezone

    found = _backups().copies() if settings.BACKUP_DIR.is_dir() else []
    found += [(path.name, since + _keep()) for path, since in replacing.kept(_database())]
    if settings.ENVIRONMENT == "production":
        from storage.dynamodb.recovery import RECOVERY_DAYS

        gone_by = timezone.now() + timedelta(days=RECOVERY_DAYS)
        found.append((f"point-in-time recovery of {settings.DYNAMODB_TABLE}", gone_by))
    return [{"name": name, "expires_at": format_time(time)} for name, time in found]


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
    from storage.sqlite.storage import LocalStorage

    return LocalStorage(alias, DummyCache("", {}), configured_archive())


def _recovery() -> dict[str, Any]:
    from storage.dynamodb import recovery

    window = recovery.window(_client())
    return {
        "table": settings.DYNAMODB_TABLE,
        "earliest": format_time(window.earliest),
        "latest": format_time(window.latest),
        "days": window.days,
    }


def _client() -> "Client":
    from storage.dynamodb.configured import configured_client

    return configured_client()


def _database() -> Path:
    return Path(connections["default"].settings_dict["NAME"])


def _keep() -> timedelta:
    return timedelta(days=settings.BACKUP_KEEP_DAYS)


def _backups() -> Backups:
    return Backups(settings.BACKUP_DIR, _keep())
