"""A folder of backups of a SQLite database: a database file and a manifest for each.

The manifest is written last and deleted first. A file without one is not a backup: it is what a
crash has left, and the next run deletes it.
"""

import errno
import fcntl
import os
import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
from django.db import DatabaseError

from storage.archive import documents, durable
from storage.backups.base import Copy, Needs
from storage.backups.inspection import (
    CheckTime,
    DatabaseContent,
    NotIntact,
    connected,
    examine,
)
from storage.exceptions import DamagedArchive, StorageError, StorageFull
from storage.records.json import format_time
from storage.sql_errors import translate
from storage.sqlite import in_use

LATEST = "latest"
FORMAT = 1
WAIT_SECONDS = 60.0
"""How long a run waits for another one that uses the folder."""

POLL_SECONDS = 0.05

ALWAYS_KEPT = 2
"""The newest backups, which no run deletes, whatever its clock says."""

NOT_RECORDED = Needs()

_FULL = (errno.ENOSPC, errno.EDQUOT)
_NAME = re.compile(r"backup-(\d{8}T\d{6}\.\d{6})Z", re.ASCII)
_TIME = "%Y%m%dT%H%M%S.%f"
_OURS = re.compile(rf"({_NAME.pattern})\.(sqlite3(-wal|-shm|-journal)?|json)(\.partial.*)?")


class BackupRefused(StorageError):
    """There is no such backup, or it cannot be made or used now; the message says why."""


class BackupDamaged(StorageError):
    """The file `name` is not what was written."""

    def __init__(self, name: str, problem: str) -> None:
        self.name = name
        super().__init__(f"{name} is damaged: {problem}.")


@dataclass(frozen=True)
class Backup:
    """What the manifest of a backup says."""

    name: str
    sha256: str
    bytes: int
    """Bytes of the file."""
    taken_at: datetime
    expires_at: datetime
    """The first run of `backup` after this time deletes it, unless it is one of the newest."""
    sqlite_version: str
    content: DatabaseContent
    needs: Needs = NOT_RECORDED


class BackupFolder:
    """The backups in `folder`. A new one is kept for `keep`."""

    def __init__(self, folder: Path, keep: timedelta) -> None:
        self.folder = folder
        self._keep = keep

    def take(
        self,
        database: Path,
        now: datetime,
        needs: Needs = NOT_RECORDED,
        *,
        keep_expired: bool = False,
        check_time: CheckTime = lambda: None,
    ) -> tuple[Backup, list[str]]:
        """Back up a database, which may be written to meanwhile, and then delete expired backups.

        `needs` is for the manifest. Returns the backup and the names of the deleted ones. Raises
        StorageFull, BackupRefused or what `check_time` raises, and then earlier backups are as they
        were.
        """
        with translated("The backup cannot be written"):
            durable.make_folder(self.folder)
            with self._locked(fcntl.LOCK_EX):
                self._remove_leftovers()
                try:
                    backup = self._take(database, now, needs, check_time)
                except BaseException:
                    with suppress(OSError):  # else the next run does it
                        self._remove_leftovers()
                    raise
                return backup, [] if keep_expired else self._remove_expired(now)

    def names(self) -> list[str]:
        """The names of all backups, oldest first."""
        found = (_NAME.fullmatch(path.stem) for path in self.folder.glob("backup-*Z.json"))
        return sorted(match[0] for match in found if match)

    def named(self, name: str) -> str:
        """The name of the backup that `name` means: itself, one of its files, or `latest`.

        Raises BackupRefused if there is none.
        """
        names = self.names()
        known = name.removesuffix(".json").removesuffix(".sqlite3")
        if name == LATEST and names:
            return names[-1]
        if known not in names:
            what = "no backup" if name == LATEST else f"no backup {name}"
            raise BackupRefused(f"There is {what} in {self.folder}.")
        return known

    def path(self, name: str) -> Path:
        """The database file of a backup."""
        return self.folder / f"{name}.sqlite3"

    def manifest(self, name: str) -> Backup:
        """The manifest of a backup. Raises BackupDamaged."""
        path = self._manifest_path(name)
        try:
            content = documents.loads(path.name, path.read_bytes())
        except OSError as error:
            raise BackupDamaged(path.name, f"it cannot be read ({error.strerror})") from error
        except DamagedArchive as error:
            raise BackupDamaged(path.name, "its checksum is not that of its content") from error
        if content.get("name") != name or content.get("format") != FORMAT:
            raise BackupDamaged(path.name, "it is another backup's, or of a later version")
        return msgspec.convert({**content, "content": content}, Backup)

    def verify(self, name: str, check_time: CheckTime = lambda: None) -> Backup:
        """Read a backup completely and compare it with its manifest.

        Raises BackupDamaged, and what `check_time` raises.
        """
        backup = self.manifest(name)
        path = self.path(name)
        try:
            is_same = path.stat().st_size == backup.bytes
            is_same = is_same and durable.digest(path, check_time) == backup.sha256
        except OSError as error:
            raise BackupDamaged(path.name, f"it cannot be read ({error.strerror})") from error
        if not is_same:
            raise BackupDamaged(path.name, "its checksum is not that of its manifest")
        compare(path, path.name, backup, check_time)
        return backup

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Keep other runs from deleting backups. Raises BackupRefused if one is busy for long."""
        if not self.folder.is_dir():
            raise BackupRefused(f"There is no backup in {self.folder}.")
        with translated("The backups cannot be read"), self._locked(fcntl.LOCK_SH):
            yield

    def copies(self) -> list[Copy]:
        """All backups, unfinished ones included."""
        found = (_OURS.fullmatch(path.name) for path in self.folder.glob("backup-*"))
        names = sorted({match[1] for match in found if match})
        return [Copy(name, self._expiry(name)) for name in names]

    def _take(self, database: Path, now: datetime, needs: Needs, check_time: CheckTime) -> Backup:
        name = f"backup-{now.astimezone(UTC).strftime(_TIME)}Z"
        path = self.path(name)
        if path.exists():
            raise BackupRefused(f"There is a backup {name} already.")
        partial = durable.partial_of(path)
        durable.create(partial).close()
        in_use.hold(str(database))
        _snapshot(database, partial)
        try:
            content = examine(partial, check_time)
        except NotIntact as error:
            raise BackupRefused(
                "No backup was made: the copy is damaged, and so the database may be, too. SQLite "
                f"says: {error}."
            ) from error
        backup = Backup(
            name=name,
            content=content,
            sha256=durable.digest(partial, check_time),
            bytes=partial.stat().st_size,
            taken_at=now,
            expires_at=now + self._keep,
            sqlite_version=sqlite3.sqlite_version,
            needs=needs,
        )
        durable.rename(partial, path)
        durable.write(self._manifest_path(name), documents.dumps(_to_document(backup)))
        return backup

    def _manifest_path(self, name: str) -> Path:
        return self.folder / f"{name}.json"

    def _expiry(self, name: str) -> datetime:
        """When a backup expires, also if its manifest is damaged.

        If BACKUP_KEEP_DAYS is lowered, that holds for earlier backups, too.
        """
        taken_at = datetime.strptime(name, f"backup-{_TIME}Z").replace(tzinfo=UTC)
        try:
            return min(self.manifest(name).expires_at, taken_at + self._keep)
        except BackupDamaged:
            return taken_at + self._keep

    def expired(self, now: datetime, kept: int = ALWAYS_KEPT) -> list[str]:
        """The names of the backups to be deleted. The newest `kept` are never among them."""
        return [name for name in self.names()[:-kept] if self._expiry(name) <= now]

    def _remove_expired(self, now: datetime) -> list[str]:
        expired = self.expired(now)
        for name in expired:
            durable.remove(self._manifest_path(name), self.path(name))
        return expired

    def _remove_leftovers(self) -> None:
        complete = set(self.names())
        for path in sorted(self.folder.iterdir()):
            match = _OURS.fullmatch(path.name)
            is_backup = path.suffix in (".json", ".sqlite3") and match and match[1] in complete
            if match and not is_backup:
                durable.remove(path)

    @contextmanager
    def _locked(self, how: int) -> Iterator[None]:
        flags = os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC
        descriptor = os.open(self.folder / ".lock", flags, durable.OWNER_ONLY)
        try:
            deadline = time.monotonic() + WAIT_SECONDS
            while not in_use.locked(descriptor, how):
                if time.monotonic() > deadline:
                    raise BackupRefused(
                        "Another run is making or reading backups; try again when it has ended."
                    )
                time.sleep(POLL_SECONDS)
            yield
        finally:
            os.close(descriptor)


def compare(
    database: Path, name: str, backup: Backup, check_time: CheckTime = lambda: None
) -> None:
    """Raises BackupDamaged, which names `name`, if the database differs from the manifest."""
    try:
        content = examine(database, check_time)
    except NotIntact as error:
        raise BackupDamaged(name, str(error)) from error
    if content != backup.content:
        raise BackupDamaged(name, "its rows are not those of its manifest")


def _snapshot(database: Path, target: Path) -> None:
    """Copy the database as it is at one moment.

    In one step: with several, SQLite would start over whenever another process writes. Writers go
    on meanwhile; the log grows, because it is not copied back.
    """
    with connected(database, timeout=20) as source, connected(target) as copy:
        copy.execute("PRAGMA synchronous = OFF")  # the file is synced when it is complete
        source.backup(copy, pages=-1)
        copy.execute("PRAGMA journal_mode = DELETE")  # a single file


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Raises errors of the file system and of SQLite as those of the storage interface."""
    try:
        yield
    except (DatabaseError, sqlite3.Error) as error:
        raise translate(error) from error
    except OSError as error:
        if error.errno in _FULL:
            raise StorageFull(f"{what}: the disk is full.") from error
        raise BackupRefused(f"{what}: {error.strerror}.") from error


def _to_document(backup: Backup) -> dict[str, Any]:
    document = {"format": FORMAT, **asdict(backup)}
    times = {name: format_time(document[name]) for name in ("taken_at", "expires_at")}
    content = document.pop("content")
    return document | times | content
