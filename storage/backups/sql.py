"""Backups of the SQL database: files in a folder, one of which can take the database's place."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.cache.backends.dummy import DummyCache
from django.db import DEFAULT_DB_ALIAS, connections, router
from django.db.migrations.loader import MigrationLoader

from storage.archive import durable, generations, pseudonyms
from storage.archive.archive import Archive, configured_archive, unchanging_archive
from storage.backups import large, practice, replacing
from storage.backups.base import (
    BackupReport,
    Backups,
    BeforeLive,
    CheckLocks,
    Copy,
    Needs,
    NotRestored,
    RestoredDatabase,
    RestoreReport,
    VerificationReport,
)
from storage.backups.files import BackupRefused, taken_at
from storage.backups.folder import ALWAYS_KEPT, LATEST, BackupFolder, translated
from storage.backups.inspection import CheckTime, connected
from storage.backups.manifests import Backup, BackupDamaged
from storage.exceptions import StorageUnavailable
from storage.models import Lock
from storage.records.json import format_time
from storage.sqlite import in_use, modes
from storage.startup.schema import migrate_under_lock
from storage.startup.selection import local_storage


class SqlBackups(Backups):
    """Backups of `database` in `folder`, each kept for `keep`.

    With `has_interactions` the database has everything. Without, as in production, it has staff
    users, sessions and API keys.
    """

    def __init__(
        self,
        database: Path,
        folder: Path,
        keep: timedelta,
        *,
        has_interactions: bool,
        archive: Callable[[], Archive] = configured_archive,
    ) -> None:
        self._database = database
        self._archive = archive
        self._folder = BackupFolder(folder, keep)
        self._keep = keep
        self._has_interactions = has_interactions

    def take(
        self,
        now: datetime,
        report: BackupReport,
        *,
        dry_run: bool = False,
        keep_expired: bool = False,
        check_time: CheckTime = lambda: None,
    ) -> None:
        """Back up, and then delete what has expired. If it fails, earlier backups are kept."""
        if dry_run:
            report.deleted = [] if keep_expired else self.expired(now)
            return
        replacing.remove_leftovers(self._database)
        practice.remove_leftovers(self._practice)
        needs, archive = Needs(pseudonyms.key_id(), _archive_place()), self._archive()
        taken = self._folder.take(
            self._database,
            now,
            needs,
            lambda: self._segments(archive),
            large.from_archive(archive.files.read),
            keep_expired=keep_expired,
            check_time=check_time,
        )
        backup, report.deleted, report.written = taken.backup, taken.deleted, taken.written
        report.large_texts, report.large_texts_missing = taken.texts, taken.missing
        report.needs = asdict(needs)
        report.name, report.bytes = backup.name, backup.bytes
        report.rows = backup.content.row_count
        report.expires_at = format_time(backup.expires_at)
        for path in [] if keep_expired else self._expired_databases(now):
            path.unlink(missing_ok=True)
            report.deleted.append(path.name)
        for path, _ in replacing.kept(self._database):
            modes.tighten(path)

    def expired(self, now: datetime) -> list[str]:
        """What `take` would delete."""
        # The backup that it makes is then one of the newest.
        expired = self._folder.expired(now, ALWAYS_KEPT - 1)
        return expired + [path.name for path in self._expired_databases(now)]

    def copies(self) -> list[Copy]:
        kept = replacing.kept(self._database)
        return self._folder.copies() + [Copy(path.name, since + self._keep) for path, since in kept]

    def newest(self) -> str | None:
        """The name of the newest backup, or None if there is none."""
        names = self._folder.names()
        return names[-1] if names else None

    def newest_at(self) -> datetime | None:
        """When the newest backup was made (UTC), or None if there is none. Raises OSError."""
        newest = self.newest()
        return None if newest is None else taken_at(newest)

    def verify(
        self,
        wanted: str | None,
        report: VerificationReport,
        step: Callable[[], None],
        check_time: CheckTime = lambda: None,
    ) -> None:
        """Read a backup completely and compare it with its manifest. Fills `report`.

        `wanted` is a name or `latest`; None stands for all backups. `step` is called before each,
        and `check_time` while it is read.
        Raises BackupRefused if there is no backup, or at the end with a line for each damaged one.
        """
        with self._folder.reading():
            names = self._folder.names() if wanted is None else [self._folder.named(wanted)]
            names = names or [self._folder.named(LATEST)]  # raises
            problems = []
            for done, name in enumerate(names):
                report.remaining = len(names) - done
                step()
                try:
                    backup = self._folder.verify(name, check_time)
                except BackupDamaged as error:
                    if error.name not in report.damaged:  # backups share chunks
                        report.damaged.append(error.name)
                    problems.append(f"{name} cannot be restored: {error}")
                else:
                    report.verified += 1
                    report.rows += backup.content.row_count
                    report.bytes += backup.bytes
            report.remaining = 0
            if problems:
                raise BackupRefused("\n".join(problems))

    def restore(
        self,
        wanted: str,
        now: datetime,
        report: RestoreReport,
        *,
        before_live: BeforeLive,
        check_locks: CheckLocks = lambda _: None,
        stale_lock: str,
        dry_run: bool = False,
        migrate: bool = False,
        keep_old: bool = False,
        expired: bool = False,
    ) -> None:
        """Put a backup in the place of the database. Fills `report`.

        `stale_lock` names a lock that a run may have held when the backup was made; it is dropped.
        `migrate` upgrades a backup of an older version, `expired` allows one that should be gone.
        With `dry_run` the backup is only read, and `check_locks` called.
        Raises StorageError, and then the database is unchanged.
        """
        with self._folder.reading():
            backup = self._folder.manifest(self._folder.named(wanted))
            report.name, report.needs = backup.name, asdict(backup.needs)
            if backup.expires_at <= now and not expired:
                raise NotRestored(
                    f"{backup.name} expired at {format_time(backup.expires_at)}. Erasures from "
                    "before then may not be on record any more. If there is no other backup: "
                    "--expired"
                )
            _check_schema(backup, migrate)
            if not migrate:  # else there may be more when it is up to date
                _check_tables(backup.content.tables, DEFAULT_DB_ALIAS)
            report.rows = backup.content.row_count
            if dry_run:
                self._folder.verify(backup.name, look=lambda copy: check_locks(self._locks(copy)))
                return

            def change(alias: str) -> None:
                if migrate:
                    migrate_under_lock(alias)
                _check_tables(connections[alias].introspection.table_names(), alias)
                storage, archive = None, self._archive()
                if self._has_interactions:
                    # Other locks stay: one of them says which archive is the database's.
                    Lock.objects.using(alias).filter(name=stale_lock).delete()
                    storage = local_storage(alias, DummyCache("", {}), archive)
                texts = large.from_backup(self._folder.texts)
                restored = RestoredDatabase(storage, alias, archive, segments, texts)
                report.erased = before_live(restored)

            segments = self._folder.parts(backup).segments
            kept = replacing.replace(self._database, self._folder, backup, change, keep_old)
        report.kept = str(kept) if kept else None

    def write_file(self, wanted: str, target: Path, report: RestoreReport) -> None:
        """Write the database of a backup as one plain file, for other programs. Fills `report`.

        Raises NotRestored if there is such a file, and BackupDamaged; then nothing is written.
        """
        partial = durable.partial_of(target)
        with self._folder.reading(), translated("The file cannot be written"):
            backup = self._folder.manifest(self._folder.named(wanted))
            report.name, report.rows = backup.name, backup.content.row_count
            report.needs = asdict(backup.needs)
            if target.exists():
                raise NotRestored(f"There is a file {target} already. Choose another name.")
            partial.unlink(missing_ok=True)
            try:
                self._folder.write_database(backup, partial)
                with connected(partial) as connection:
                    connection.execute("PRAGMA journal_mode = DELETE").fetchone()
                durable.rename(partial, target)
            finally:
                partial.unlink(missing_ok=True)
        report.file = str(target)

    def _segments(self, archive: Archive) -> Mapping[str, str]:
        """What the archive has now; nothing if it does not answer. Then a restore reads all."""
        if not self._has_interactions:
            return {}
        try:
            return generations.complete(archive)
        except StorageUnavailable:
            return {}

    def _locks(self, database: Path) -> dict[str, str]:
        """The owners of the locks in a database file; in production others count."""
        if not self._has_interactions:  # the file may have had them once
            return {}
        table = Lock._meta.db_table
        with connected(database, mode="mode=ro&immutable=1") as connection:
            if not connection.execute(f"PRAGMA table_info({table})").fetchall():
                return {}  # it is of another ENVIRONMENT, which --migrate finds out later
            return dict(connection.execute(f"SELECT name, owner FROM {table}"))  # noqa: S608

    def _expired_databases(self, now: datetime) -> list[Path]:
        """Databases that restores have kept for long enough."""
        return [path for path, since in replacing.kept(self._database) if since + self._keep <= now]

    def practise(self, wanted: str, now: datetime, report: RestoreReport, **options: Any) -> None:
        """Restore a backup in a folder of its own, which is then deleted; see `restore`.

        Servers may run meanwhile; neither the database nor the archive is changed.
        """
        with practice.scratch(self._practice) as folder:
            trial = SqlBackups(
                folder / self._database.name,
                self._folder.folder,
                self._keep,
                has_interactions=self._has_interactions,
                archive=lambda: unchanging_archive(folder / large.FOLDER),
            )
            trial.restore(wanted, now, report, **options)

    @property
    def _practice(self) -> Path:
        """Beside the database, where a restore needs its space, too."""
        return self._database.parent / practice.NAME

    def keep_restores_out(self) -> None:
        """Let no restore begin until this process, or the program that it becomes, has ended."""
        in_use.hold_after_exec(str(self._database))


def _archive_place() -> str:
    options = settings.STORAGES["archive"]["OPTIONS"]
    bucket = options.get("bucket_name")
    return f"s3://{bucket}" if bucket else str(options["location"])


def _check_schema(backup: Backup, migrate: bool) -> None:
    applied = set(backup.content.schema)
    known = {".".join(migration) for migration in MigrationLoader(None).disk_migrations}
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


def _check_tables(found: Collection[str], alias: str) -> None:
    models = apps.get_models(include_auto_created=True)
    for model in models:
        expected = model._meta.managed and router.allow_migrate_model(alias, model)
        if expected and model._meta.db_table not in found:
            raise NotRestored(
                f"The backup has no table {model._meta.db_table}: it is of another ENVIRONMENT."
            )
