"""A folder of backups of a SQLite database: a manifest and a list for each, and shared chunks.

The manifest is written last. Before its first chunk is written, a backup has a file `.incomplete`.
One that expires has it until its last chunk is gone. So whatever there is of a user is in a backup
that has a name, and `copies` tells in which. At the end of each run the chunks that no list
names are deleted.
"""

import errno
import fcntl
import hashlib
import secrets
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from django.db import DatabaseError

from storage.archive import durable
from storage.backups import files, large, manifests, snapshot
from storage.backups.base import Contents, Copy, Needs, nothing
from storage.backups.chunks import BYTES, Chunks, Kept
from storage.backups.files import (
    DATABASE,
    INCOMPLETE,
    MANIFEST,
    OF_COMPLETE,
    PARTS,
    BackupFiles,
    BackupRefused,
)
from storage.backups.inspection import CheckTime, DatabaseContent, NotIntact, connected, examine
from storage.backups.large import KeptTexts
from storage.backups.manifests import (
    NO_PARTS,
    NOT_RECORDED,
    WHOLE_FILES,
    Backup,
    BackupDamaged,
    Parts,
)
from storage.exceptions import StorageFull
from storage.records.texts import TextObject
from storage.sql.errors import translate
from storage.sqlite import in_use

LATEST = "latest"
ALWAYS_KEPT = 2
"""The newest backups, which no run deletes, whatever its clock says."""

SHOWN = 10
"""Names of backups in an error."""

CHUNKS = "chunks"
"""The subfolder of the shared chunks."""

ATTEMPTS = 3
"""Snapshots that are tried, if texts that one names are deleted before they could be copied."""

_FULL = (errno.ENOSPC, errno.EDQUOT)

Segments = Callable[[], Mapping[str, str]]
"""Returns the segments of the archive that are complete, each with its generation."""


class Taken(NamedTuple):
    """What a run has done."""

    backup: Backup
    deleted: list[str]
    """The names of backups that had expired."""
    written: int
    """Bytes of new chunks, and of new copies of large texts."""
    texts: int = 0
    """Objects with large texts."""
    missing: int = 0
    """Of these, those that were not to be had."""


class BackupFolder:
    """The backups in `folder`. A new one is kept for `keep`."""

    def __init__(self, folder: Path, keep: timedelta) -> None:
        self.folder = folder
        self._keep = keep
        self._files = BackupFiles(folder)
        self._chunks = Chunks(folder / CHUNKS)
        self.texts = KeptTexts(folder / large.FOLDER)
        """Copies of the objects with large texts, of all backups."""

    def take(
        self,
        database: Path,
        now: datetime,
        needs: Needs = NOT_RECORDED,
        segments: Segments = dict,
        texts: Contents = nothing,
        *,
        keep_expired: bool = False,
        check_time: CheckTime = lambda: None,
    ) -> Taken:
        """Back up a database, which may be written to meanwhile, and then delete expired backups.

        `needs` and `segments` are for the manifest, `texts` has the large texts. Raises
        StorageFull, StorageUnavailable, BackupRefused or what `check_time` raises, and then earlier
        backups are as they were.
        """
        with translated("The backup cannot be written"):
            durable.make_folder(self.folder)
            with self._files.locked(fcntl.LOCK_EX):
                self._remove_partials()
                try:
                    taken = self._take(database, now, needs, segments, texts, check_time)
                except BaseException:
                    with suppress(OSError):  # else the next run does it
                        self._remove_leftovers()
                    raise
                deleted = [] if keep_expired else self.expired(now)
                self._expire(deleted)
                return taken._replace(deleted=deleted)

    def names(self) -> list[str]:
        """The names of all backups, oldest first."""
        return self._files.names()

    def named(self, name: str) -> str:
        """The name of the backup that `name` means: itself, one of its files, or `latest`.

        Raises BackupRefused if there is none.
        """
        names = self.names()
        known = name
        for suffix in OF_COMPLETE:
            known = known.removesuffix(suffix)
        if name == LATEST and names:
            return names[-1]
        if known not in names:
            what = "no backup" if name == LATEST else f"no backup {name}"
            newest = f" The newest are {', '.join(names[-SHOWN:])}." if names else ""
            raise BackupRefused(f"There is {what} in {self.folder}.{newest}")
        return known

    def manifest(self, name: str) -> Backup:
        """The manifest of a backup. Raises BackupDamaged."""
        path = self._files.path(name, MANIFEST)
        return manifests.loads(path.name, name, _read(path))

    def parts(self, backup: Backup) -> Parts:
        """What a backup is made of. Raises BackupDamaged."""
        if backup.format == WHOLE_FILES:
            return NO_PARTS
        path = self._files.path(backup.name, PARTS)
        return manifests.load_parts(path.name, backup, _read(path))

    def write_database(
        self, backup: Backup, target: Path, check_time: CheckTime = lambda: None
    ) -> None:
        """Write the database file of a backup, all of it compared with its checksums.

        It is not synced. Raises FileExistsError, BackupDamaged, and what `check_time` raises.
        """
        with durable.create(target) as file:
            for content in self._contents(backup):
                check_time()
                file.write(content)
            if file.tell() != backup.bytes:
                raise BackupDamaged(backup.name, "its length is not that of its manifest")

    def verify(
        self,
        name: str,
        check_time: CheckTime = lambda: None,
        look: Callable[[Path], None] = lambda _: None,
    ) -> Backup:
        """Read a backup completely, as a restore does, and let SQLite check the database.

        That is written beside the backups, given to `look`, and deleted. Raises BackupDamaged, and
        what `check_time` and `look` raise.
        """
        backup = self.manifest(name)
        with self._temporary(name) as database:
            self.write_database(backup, database, check_time)
            compare(database, backup, check_time)
            self._verify_texts(database, backup, check_time)
            look(database)
        return backup

    def _verify_texts(self, database: Path, backup: Backup, check_time: CheckTime) -> None:
        copies = set(() if backup.format == WHOLE_FILES else self.parts(backup).large)
        for kept in _named(database, "mode=ro&immutable=1"):
            if kept.version in copies:  # else it was missing when the backup was made
                check_time()
                self.texts.read(kept)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Keep other runs from deleting backups. Raises BackupRefused if one is busy for long."""
        if not self.folder.is_dir():
            raise BackupRefused(f"There is no backup in {self.folder}.")
        with translated("The backups cannot be read"), self._files.locked(fcntl.LOCK_SH):
            yield

    def copies(self) -> list[Copy]:
        """All backups, unfinished ones included; or one of which nothing is known, if need be."""
        try:
            names = self._files.all_names()
        except OSError as error:
            return [Copy(f"backups in {self.folder}, if any: {error.strerror}", None)]
        return [Copy(name, self._expiry(name)) for name in names]

    def expired(self, now: datetime, kept: int = ALWAYS_KEPT) -> list[str]:
        """The names of the backups to be deleted. The newest `kept` are never among them."""
        return [name for name in self.names()[:-kept] if self._expiry(name) <= now]

    def _take(
        self,
        database: Path,
        now: datetime,
        needs: Needs,
        segments: Segments,
        texts: Contents,
        check_time: CheckTime,
    ) -> Taken:
        name = files.new_name(now)
        if name in self.names():
            raise BackupRefused(f"There is a backup {name} already.")
        durable.write(self._files.path(name, INCOMPLETE), b"")
        in_use.hold(str(database))
        written, whole = 0, set[str]()
        for _ in range(ATTEMPTS):
            # Most texts come first, as an object may be deleted when the moment is over.
            new, _ = self.texts.keep(_named(database, "mode=ro"), texts, whole, check_time)
            before = segments()
            with snapshot.pinned(database) as length:
                after = segments()
                chunks = self._keep_chunks(database, length, check_time)
                content = _examined(database, check_time)
                named = _named(database, "mode=ro&immutable=1")
            late, missing = self.texts.keep(named, texts, whole, check_time)
            written += new + late + sum(chunk.written for chunk in chunks)
            if not missing:
                break
        # What was the same before and after the moment of the backup was so at that moment.
        parts = Parts(
            [chunk.name for chunk in chunks],
            dict(before.items() & after.items()),
            [kept.version for kept in named if kept not in missing],
        )
        document = manifests.dump_parts(parts)
        backup = Backup(
            name=name,
            content=content,
            sha256=hashlib.sha256(document).hexdigest(),
            bytes=length,
            taken_at=now,
            expires_at=now + self._keep,
            sqlite_version=sqlite3.sqlite_version,
            needs=needs,
        )
        durable.write(self._files.path(name, PARTS), document)
        durable.write(self._files.path(name, MANIFEST), manifests.dumps(backup))
        return Taken(backup, [], written, len(named), len(missing))

    def _keep_chunks(self, database: Path, length: int, check_time: CheckTime) -> list[Kept]:
        chunks = []
        for chunk in self._chunks.keep(snapshot.read(database, length, BYTES)):
            chunks.append(chunk)
            check_time()
        return chunks

    def _contents(self, backup: Backup) -> Iterator[bytes]:
        if backup.format == WHOLE_FILES:
            return _contents_of_file(self._files.path(backup.name, DATABASE), backup)
        return map(self._chunks.read, self.parts(backup).chunks)

    def _expiry(self, name: str) -> datetime:
        """When a backup expires, also if its manifest is damaged.

        If BACKUP_KEEP_DAYS is lowered, that holds for earlier backups, too.
        """
        latest = files.taken_at(name) + self._keep
        try:
            return min(self.manifest(name).expires_at, latest)
        except BackupDamaged:
            return latest

    def _expire(self, names: list[str]) -> None:
        for name in names:
            durable.rename(self._files.path(name, MANIFEST), self._files.path(name, INCOMPLETE))
        self._remove_leftovers()

    def _remove_partials(self) -> None:
        """Delete what an interrupted run has left, but for its chunks: this run may need them."""
        durable.remove(*(path for path in self._files.leftovers() if path.suffix != INCOMPLETE))

    def _remove_leftovers(self) -> None:
        """Delete all that is of no complete backup; a `.incomplete` file goes last."""
        self._remove_partials()
        self._chunks.remove_others(self._files.named_chunks())
        lists = self._files.lists_of_parts()
        self.texts.remove_others(set().union(*map(large.versions_in, lists)))
        durable.remove(*self._files.leftovers())

    @contextmanager
    def _temporary(self, name: str) -> Iterator[Path]:
        """A path for the database of a backup, while it is verified.

        Not by the number of this process: another one may have the same in its container.
        """
        path = self._files.path(name, f"{DATABASE}.partial.{secrets.token_hex(8)}")
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)


def compare(database: Path, backup: Backup, check_time: CheckTime = lambda: None) -> None:
    """Raises BackupDamaged, which names the backup, if the database differs from the manifest."""
    try:
        content = examine(database, check_time)
    except NotIntact as error:
        raise BackupDamaged(backup.name, str(error)) from error
    if content != backup.content:
        raise BackupDamaged(backup.name, "its rows are not those of its manifest")


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
        where = f": {error.filename}" if error.filename else ""
        raise BackupRefused(f"{what}: {error.strerror}{where}.") from error


def _examined(database: Path, check_time: CheckTime) -> DatabaseContent:
    try:
        return examine(database, check_time)
    except NotIntact as error:
        raise BackupRefused(
            f"No backup was made: the database is damaged. SQLite says: {error}."
        ) from error


def _named(database: Path, mode: str) -> list[TextObject]:
    with connected(database, mode=mode) as connection:
        return large.named_by(connection)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BackupDamaged(path.name, f"it cannot be read ({error.strerror})") from error


def _contents_of_file(path: Path, backup: Backup) -> Iterator[bytes]:
    """The database of a backup that is one file, in pieces. At the end raises BackupDamaged."""
    hashed = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while content := file.read(durable.CHUNK):
                hashed.update(content)
                yield content
    except OSError as error:
        raise BackupDamaged(path.name, f"it cannot be read ({error.strerror})") from error
    if hashed.hexdigest() != backup.sha256:
        raise BackupDamaged(path.name, "its checksum is not that of its manifest")
