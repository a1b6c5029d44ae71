"""Putting a backup in the place of the database. At every moment the old or the new one is there.

The backup is written beside the database, changed as needed, checked, synced, and renamed over it.
SQLite finds the log of a database by its name, and would apply the old log to the new database: so
the old log is copied back and deleted before the rename. A connection keeps the old database locked
until afterwards, because other programs know nothing of the lock file of `in_use`.
"""

import glob
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from django.db import connections

from storage.archive import durable
from storage.backups.base import NotRestored
from storage.backups.folder import BackupFolder, translated
from storage.backups.inspection import NotIntact, check, connected
from storage.backups.manifests import Backup
from storage.sqlite import base, in_use, modes, text_file

SIDE_FILES = ("-wal", "-shm", "-journal")
ALIAS = "restoring"
"""Django's name for the copy while it is changed."""

OF_A_COPY = "PRAGMA synchronous=OFF;PRAGMA cache_size=-65536;PRAGMA wal_autocheckpoint=16000"
"""Each page is written once or twice, however many stubs are corrected on it: 64 MB of both."""

WAIT_SECONDS = 2.0
"""How long to wait for another program that reads the database."""

_KEPT = ".before-restore-"
_TIME = "%Y%m%dT%H%M%S.%fZ"


def replace(
    database: Path,
    folder: BackupFolder,
    backup: Backup,
    change: Callable[[str], None],
    keep_old: bool,
) -> Path | None:
    """Put a backup in the place of the database. Returns the old one's new name, if it is kept.

    `change` is called with Django's name for the copy before the copy is used. Raises
    DatabaseInUse, BackupDamaged, NotRestored, StorageFull and what `change` raises; then the
    database is unchanged.
    """
    base.close_idle_connections()
    base.close_pool(str(database))
    file = database.resolve()  # what a link leads to is replaced, and the link stays
    copy = _copy_of(file)
    with translated("The database cannot be restored"), in_use.alone(str(database)):
        _remove(file, copy)
        try:
            _make_copy(folder, backup, file, copy)
            with _locked(file):
                with _as_database(copy):
                    change(ALIAS)
                _settle(copy)
                return _exchange(file, copy, keep_old)
        finally:
            with suppress(OSError):  # else the next run does it
                _remove(file, copy)


def remove_leftovers(database: Path) -> None:
    """Delete what an interrupted restore has left. Waits for a restore that is under way."""
    with translated("Files of an interrupted restore cannot be deleted"):
        in_use.hold(str(database))
        _remove(database.resolve(), _copy_of(database.resolve()))


def kept(database: Path) -> list[tuple[Path, datetime]]:
    """Earlier databases that restores have kept, and since when."""
    found = []
    database = database.resolve()
    for path in sorted(database.parent.glob(f"{glob.escape(database.name)}{_KEPT}*")):
        with suppress(ValueError):
            time = datetime.strptime(path.name.rpartition(_KEPT)[2], _TIME).replace(tzinfo=UTC)
            found.append((path, time))
    return found


def _make_copy(folder: BackupFolder, backup: Backup, database: Path, copy: Path) -> None:
    folder.write_database(backup, copy)
    if database.exists():
        copy.chmod(modes.allowed(database.stat().st_mode))
    if os.geteuid() == 0:  # else a server that runs as another user could not open it
        owner = (database if database.exists() else database.parent).stat()
        os.chown(copy, owner.st_uid, owner.st_gid)


@contextmanager
def _as_database(copy: Path) -> Iterator[None]:
    """Make the copy one of Django's databases, with the options of the default one.

    It is synced as a whole when it is complete, and until then nobody needs it after a crash.
    """
    default = connections.settings["default"]
    pragmas = f"{default['OPTIONS']['init_command']};{OF_A_COPY}"
    options = default["OPTIONS"] | {"init_command": pragmas}
    connections.settings[ALIAS] = default | {"NAME": str(copy), "OPTIONS": options}
    try:
        yield
    finally:
        connections[ALIAS].close()
        base.close_idle_connections()
        base.close_pool(str(copy))
        in_use.release(str(copy))
        del connections[ALIAS]
        del connections.settings[ALIAS]


def _settle(copy: Path) -> None:
    """Leave the copy as one intact file on the disk, a database in WAL mode."""
    with connected(copy) as connection:
        for mode in ("delete", "wal"):
            (found,) = connection.execute(f"PRAGMA journal_mode = {mode}").fetchone()
            if found != mode:
                raise NotRestored("The copy is in use by another program.")
    try:
        check(copy)
    except NotIntact as error:
        raise NotRestored(f"The copy is damaged: {error}.") from error
    if any(side.exists() for side in _side_files(copy)):
        raise NotRestored("The copy is in use by another program.")
    durable.sync(copy)


def _exchange(database: Path, copy: Path, keep_old: bool) -> Path | None:
    # Files that are still there belong to a database that SQLite cannot open, or to none. And the
    # search index has words of the old one.
    index = Path(f"{database}{text_file.SUFFIX}")
    durable.remove(*_side_files(database), index, *_side_files(index))
    old = None
    if keep_old and database.exists():
        old = database.with_name(f"{database.name}{_KEPT}{datetime.now(UTC).strftime(_TIME)}")
        os.link(database, old)
        durable.sync_folder(database.parent)
    copy.replace(database)
    try:
        durable.sync_folder(database.parent)
    except OSError as error:
        raise NotRestored(
            f"The backup is in place, but a power loss may undo that: {error.strerror}. "
            "Restore it again."
        ) from error
    return old


@contextmanager
def _locked(database: Path) -> Iterator[None]:
    """Copy the log back, delete it, and lock the file. Skipped if it is not a database."""
    if not database.exists():
        yield
        return
    with closing(
        sqlite3.connect(database, isolation_level=None, timeout=WAIT_SECONDS)
    ) as connection:
        try:
            modes = connection.execute("PRAGMA journal_mode = DELETE").fetchall()
            connection.execute("BEGIN EXCLUSIVE")
            modes += connection.execute("PRAGMA journal_mode").fetchall()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                raise
            modes = []
        except sqlite3.DatabaseError:  # not a database, or damaged: it is replaced as it is
            connection.close()
            modes = [("delete",), ("delete",)]
        if modes != [("delete",), ("delete",)]:
            raise in_use.DatabaseInUse(
                "Another program has the database open. Stop it, then try again."
            )
        yield


def _copy_of(database: Path) -> Path:
    return database.with_name(f"{database.name}.restoring")


def _side_files(database: Path) -> list[Path]:
    return [Path(f"{database}{suffix}") for suffix in SIDE_FILES]


def _remove(database: Path, copy: Path) -> None:
    """Delete the copy, and the second name of a database to be kept that is still in use."""
    locks = [Path(f"{copy}{suffix}") for suffix in (in_use.SUFFIX, ".migrate.lock")]
    durable.remove(copy, *_side_files(copy), *locks)
    for path, _ in kept(database):
        if database.exists() and path.samefile(database):
            durable.remove(path)
