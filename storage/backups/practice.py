"""The folder in which a restore is practised. Nobody else uses it, and nothing of it stays."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from storage.archive import owners
from storage.backups.files import BackupRefused
from storage.sqlite import in_use

NAME = "restore-practice"


@contextmanager
def scratch(folder: Path) -> Iterator[Path]:
    """An empty folder, deleted at the end. Raises BackupRefused if another process practises."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    owners.give_folder(folder)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if not in_use.locked(descriptor, fcntl.LOCK_EX):
            raise BackupRefused("Another run is practising a restore; try again when it has ended.")
        _empty(folder)  # what a run that was killed has left
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(descriptor)


def remove_leftovers(folder: Path) -> None:
    """Delete what a practice that was killed has left, unless one is under way."""
    if folder.exists():
        with suppress(BackupRefused), scratch(folder):
            pass


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
