"""Backups of a SQLite database: a folder with a file and a manifest for each.

# Note [When a backup counts]

    copy the database to a partial file; check it; sync and rename it; sync and rename its manifest

The manifest comes last, and without it the file is no backup: what a crash has left is deleted by
the next run. In the other direction the manifest goes first.
"""

import errno
import fcntl
import os
import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from django.db import DatabaseError

from storage.archive import documents, durable
from storage.backups.inspection import Content, NotWhole, connected, examine
from storage.exceptions import DamagedArchive, StorageError, StorageFull
from storage.records.json import format_time
from storage.sql_errors import translate
from storage.sqlite import in_use

LATEST = "latest"
FORMAT = 1
WAIT_SECONDS = 60.0
"""How long a run waits for one that uses the folder otherwise."""

POLL_SECONDS = 0.05

_FULL = (errno.ENOSPC, errno.EDQUOT)
_NAME = re.compile(r"backup-(\d{8}T\d{6}\.\d{6})Z", re.ASCII)
_TIME = "%Y%m%dT%H%M%S.%f"
_OURS = re.compile(rf"({_NAME.pattern})\.(sqlite3(-wal|-shm|-journal)?|json)(\.partial.*)?")


class BackupRefused(StorageError):
    """There is no such backup, or it cannot be made or used now; the text says why."""


class BackupDamaged(StorageError):
    """A file is not what was written; `name` says which."""

    def __init__(self, name: str, problem: str) -> None:
        self.name = name
        super().__init__(f"{name} is damaged: {problem}.")


@dataclass(frozen=True)
class Backup:
    """What the manifest of a backup tells."""

    name: str
    sha256: str
    size: int
    """Bytes of the file."""
    taken_at: datetime
    expires_at: datetime
    """When it is deleted, by the next backup after that."""
    sqlite_version: str
    content: Content


class Backups:
    """The backups in `folder`. A new one is kept for `keep`."""

    def __init__(self, folder: Path, keep: timedelta) -> None:
        self.folder = folder
        self._keep = keep

    def take(self, database: Path, now: datetime) -> tuple[Backup, list[str]]:
        """Back up a database that may be written meanwhile; gives the names of those deleted.

        Raises StorageFull or BackupRefused. Old ones go only after the new one is complete.
        """
        with translated("The backup cannot be written"):
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._locked(fcntl.LOCK_EX):
                self._remove_leftovers()
                try:
                    backup = self._take(database, now)
                except BaseException:
                    with suppress(OSError):  # the next run does it, then
                        self._remove_leftovers()
                    raise
                return backup, self._remove_expired(now)

    def names(self) -> list[str]:
        """All backups, the oldest first."""
        found = (_NAME.fullmatch(path.stem) for path in self.folder.glob("backup-*Z.json"))
        return sorted(match[0] for match in found if match)

    def named(self, name: str) -> str:
        """The name of a backup, given as such, as one of its files, or as `latest`."""
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
        """What the manifest tells. Raises BackupDamaged."""
        path = self._manifest_path(name)
        try:
            content = documents.loads(path.name, path.read_bytes())
        except OSError as error:
            raise BackupDamaged(path.name, f"it cannot be read ({error.strerror})") from error
        except DamagedArchive as error:
            raise BackupDamaged(path.name, "its checksum is not that of its content") from error
        if content.get("name") != name or content.get("format") != FORMAT:
            raise BackupDamaged(path.name, "it is another backup's, or of a later version")
        return _from_document(content)

    def verify(self, name: str) -> Backup:
        """Read a backup and its manifest, all of both. Raises BackupDamaged."""
        backup = self.manifest(name)
        path = self.path(name)
        try:
            is_same = path.stat().st_size == backup.size and durable.digest(path) == backup.sha256
        except OSError as error:
            raise BackupDamaged(path.name, f"it cannot be read ({error.strerror})") from error
        if not is_same:
            raise BackupDamaged(path.name, "its checksum is not that of its manifest")
        compare(path, path.name, backup)
        return backup

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Within, no run deletes a backup. Raises BackupRefused if one is being made for long."""
        if not self.folder.is_dir():
            raise BackupRefused(f"There is no backup in {self.folder}.")
        with translated("The backups cannot be read"), self._locked(fcntl.LOCK_SH):
            yield

    def copies(self) -> list[tuple[str, datetime]]:
        """Each backup, finished or not, and when it expires: the next run deletes it then."""
        found = (_OURS.fullmatch(path.name) for path in self.folder.glob("backup-*"))
        return [
            (name, self._expiry(name)) for name in sorted({match[1] for match in found if match})
        ]

    def _take(self, database: Path, now: datetime) -> Backup:
        name = f"backup-{now.astimezone(UTC).strftime(_TIME)}Z"
        path = self.path(name)
        if path.exists():
            raise BackupRefused(f"There is a backup {name} already.")
        partial = durable.partial_of(path)
        durable.create(partial).close()
        in_use.hold(str(database))
        _snapshot(database, partial)
        try:
            content = examine(partial)
        except NotWhole as error:
            raise BackupRefused(
                "No backup was made: the copy is damaged, and so is the database, perhaps. SQLite "
                f"says: {error}."
            ) from error
        backup = Backup(
            name=name,
            content=content,
            sha256=durable.digest(partial),
            size=partial.stat().st_size,
            taken_at=now,
            expires_at=now + self._keep,
            sqlite_version=sqlite3.sqlite_version,
        )
        durable.rename(partial, path)
        durable.write(self._manifest_path(name), documents.dumps(_to_document(backup)))
        return backup

    def _manifest_path(self, name: str) -> Path:
        return self.folder / f"{name}.json"

    def _expiry(self, name: str) -> datetime:
        """Also of one whose manifest is damaged. Keeping backups for fewer days holds for all."""
        taken_at = datetime.strptime(name, f"backup-{_TIME}Z").replace(tzinfo=UTC)
        try:
            return min(self.manifest(name).expires_at, taken_at + self._keep)
        except BackupDamaged:
            return taken_at + self._keep

    def _remove_expired(self, now: datetime) -> list[str]:
        expired = [name for name in self.names() if self._expiry(name) <= now]
        for name in expired:
            durable.remove(self._manifest_path(name), self.path(name))
        return expired

    def _remove_leftovers(self) -> None:
        counting = set(self.names())
        for path in sorted(self.folder.iterdir()):
            match = _OURS.fullmatch(path.name)
            is_backup = path.suffix in (".json", ".sqlite3") and match and match[1] in counting
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
                        "Another run makes or reads backups; try again when it has ended."
                    )
                time.sleep(POLL_SECONDS)
            yield
        finally:
            os.close(descriptor)


def compare(database: Path, name: str, backup: Backup) -> None:
    """Raises BackupDamaged, with `name`, unless the file has what the manifest tells."""
    try:
        content = examine(database)
    except NotWhole as error:
        raise BackupDamaged(name, str(error)) from error
    if content != backup.content:
        raise BackupDamaged(name, "its rows are not those that its manifest tells of")


def _snapshot(database: Path, target: Path) -> None:
    """Copy the database as it is at one moment.

    In one step: one of many would begin anew whenever another process has written. Writers go on
    meanwhile; only the log is not copied back, and grows.
    """
    with connected(database, timeout=20) as source, connected(target) as copy:
        copy.execute("PRAGMA synchronous = OFF")  # it is synced as a whole
        source.backup(copy, pages=-1)
        copy.execute("PRAGMA journal_mode = DELETE")  # a single file


@contextmanager
def translated(what: str) -> Iterator[None]:
    """What a file system or SQLite raises, as errors of the storage interface."""
    try:
        yield
    except (DatabaseError, sqlite3.Error) as error:
        raise translate(error) from error
    except OSError as error:
        if error.errno in _FULL:
            raise StorageFull(f"{what}: the disk is full.") from error
        raise BackupRefused(f"{what}: {error.strerror}.") from error


def _to_document(backup: Backup) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "name": backup.name,
        "sha256": backup.sha256,
        "bytes": backup.size,
        "taken_at": format_time(backup.taken_at),
        "expires_at": format_time(backup.expires_at),
        "sqlite_version": backup.sqlite_version,
        **backup.content.as_dict(),
    }


def _from_document(document: dict[str, Any]) -> Backup:
    return Backup(
        name=document["name"],
        sha256=document["sha256"],
        size=document["bytes"],
        taken_at=datetime.fromisoformat(document["taken_at"]),
        expires_at=datetime.fromisoformat(document["expires_at"]),
        sqlite_version=document["sqlite_version"],
        content=Content(document["tables"], document["hashes"], document["schema"]),
    )
