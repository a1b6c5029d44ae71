"""Which users of the machine may use the files of a database.

New files are for their owner alone (`config/__init__.py`). SQLite gives its log and its journal the
mode of the database, and the lock files beside it get that mode here: who can open a lock file can
hold the lock, and so keep every process from starting.

An operator can let a group in: `chmod g+rw` of the database. A mode that also lets everybody else
in was chosen by nobody, since earlier versions made such files, so it is taken back.
"""

import logging
import os
import stat
from contextlib import suppress
from pathlib import Path

from storage.archive import owners

logger = logging.getLogger(__name__)

OWNER = 0o600
GROUP = 0o060
OTHERS = 0o007
SIDE_FILES = ("-wal", "-shm", "-journal")


def allowed(mode: int) -> int:
    """The permissions of `mode` that a file with what users said may have."""
    return mode & (OWNER if mode & OTHERS else OWNER | GROUP)


def tighten(*files: Path) -> None:
    """Take the permissions of other users from those of the files that exist, and log it."""
    for file in files:
        with suppress(FileNotFoundError):
            if _is_open_to_others(file):
                _close_to_others(file)


def tighten_database(database: str) -> None:
    """Take the permissions of other users from a database and its log."""
    file = os.path.realpath(database)
    tighten(*(Path(f"{file}{suffix}") for suffix in ("", *SIDE_FILES)))


def open_lock(database: str, suffix: str) -> int:
    """Open a lock file beside the database, for whoever may use that. Returns its descriptor."""
    file = Path(os.path.realpath(database))
    flags = os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(f"{file}{suffix}", flags, OWNER)
    with suppress(OSError):  # the file system keeps no modes or owners
        _let_in_users_of(file, descriptor)
    return descriptor


def begin_for_owner(database: Path) -> None:
    """If root makes a database, let it belong to whom the folder belongs. Its logs follow."""
    if os.geteuid() != 0 or any(Path(f"{database}{end}").exists() for end in ("", "-wal")):
        return
    with suppress(OSError):  # SQLite says what is wrong, or another process was first
        descriptor = os.open(database, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, OWNER)
        owners.give(descriptor, database.parent)
        os.close(descriptor)


def _is_open_to_others(file: Path) -> bool:
    mode = file.lstat().st_mode
    return stat.S_ISREG(mode) and bool(mode & OTHERS)


def _close_to_others(file: Path) -> None:
    with suppress(PermissionError):  # it is another user's, or the file system keeps no modes
        file.chmod(allowed(file.stat().st_mode))
    if _is_open_to_others(file):
        logger.warning(
            "Every user of this machine may use %s. Let its owner run: chmod go= %s", file, file
        )
    else:
        logger.warning("Every user of this machine could use %s. Now only its owner can.", file)


def _let_in_users_of(database: Path, descriptor: int) -> None:
    is_there = database.exists()
    model, lock = (database if is_there else database.parent).stat(), os.fstat(descriptor)
    mode = allowed(model.st_mode) if is_there else OWNER
    if lock.st_nlink != 1:  # what its other name is for, nobody knows
        return
    if os.geteuid() == 0:  # else a server that runs as another user could not open it
        os.fchown(descriptor, model.st_uid, model.st_gid)
    elif lock.st_uid != os.geteuid():
        return
    if lock.st_mode & 0o777 != mode:
        os.fchmod(descriptor, mode)
