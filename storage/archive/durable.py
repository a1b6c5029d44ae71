"""Files that a power loss leaves as they were or complete, never half written.

A file is written under another name, synced and renamed; then the folder with its name is synced.
This module knows no backend, so whatever keeps files on this machine may use it.
"""

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO

from storage.archive import owners

CHUNK = 1024 * 1024
OWNER_ONLY = 0o600


def sync(path: Path) -> None:
    """Write the content of a file to the disk.

    Not for a database that this process has open: closing the file would drop SQLite's locks.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Write the names in a folder to the disk, unless another process has removed the folder."""
    with suppress(FileNotFoundError):
        sync(folder)


def make_folder(folder: Path) -> None:
    """Make a folder that only its owner can enter, unless it exists, and those above it."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path in reversed(missing):
        owners.give_folder(path)
        sync_folder(path.parent)


def create(path: Path) -> IO[bytes]:
    """A new file, open for writing, that only its owner can read. Raises FileExistsError."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY), "wb")


def rename(old: Path, new: Path) -> None:
    """Rename a file that has been written completely. Replaces what has the new name."""
    sync(old)
    old.replace(new)
    sync_folder(new.parent)


def write(path: Path, content: bytes) -> None:
    """Write or replace a file in one step. If root does, it is the folder's owner's."""
    partial = partial_of(path)
    partial.unlink(missing_ok=True)
    with create(partial) as file:
        owners.give(file.fileno(), path.parent)
        file.write(content)
    rename(partial, path)


def partial_of(path: Path) -> Path:
    """The name of a file while it is being written."""
    return path.with_name(f"{path.name}.partial")


def remove(*paths: Path) -> None:
    """Delete these files one after the other. Those that do not exist are skipped."""
    for path in paths:
        with suppress(FileNotFoundError):
            path.unlink()
            sync_folder(path.parent)


def digest(path: Path, check_time: Callable[[], None] = lambda: None) -> str:
    """The SHA-256 of a file. `check_time` is called again and again meanwhile, and may raise."""
    hashed = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            check_time()
            hashed.update(chunk)
    return hashed.hexdigest()


def copy(source: Path, target: Path) -> str:
    """Copy a file to a new one. Returns the SHA-256 of what was copied."""
    hashed = hashlib.sha256()
    with source.open("rb") as read, create(target) as written:
        while chunk := read.read(CHUNK):
            hashed.update(chunk)
            written.write(chunk)
    sync(target)
    return hashed.hexdigest()
