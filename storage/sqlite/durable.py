"""Files that a power loss leaves as they were or as they should be, never in between."""

import hashlib
import os
from contextlib import suppress
from pathlib import Path

CHUNK = 1024 * 1024
OWNER_ONLY = 0o600


def sync(path: Path) -> None:
    """Make what is in a file, or the names in a folder, outlive a power loss.

    Not for a database that this process has open: closing the file would take SQLite's locks away.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def create(path: Path) -> None:
    """Make an empty file that only its owner reads. Raises FileExistsError."""
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY))


def rename(old: Path, new: Path) -> None:
    """Give a file, whose content is on the disk, another name, in the place of what has it."""
    sync(old)
    old.replace(new)
    sync(new.parent)


def write(path: Path, content: bytes) -> None:
    """Write a whole file, or nothing of it."""
    partial = partial_of(path)
    partial.unlink(missing_ok=True)
    create(partial)
    partial.write_bytes(content)
    rename(partial, path)


def partial_of(path: Path) -> Path:
    """The name of a file while it is being written."""
    return path.with_name(f"{path.name}.partial")


def remove(*paths: Path) -> None:
    """Delete files that may be there, one after the other."""
    for path in paths:
        with suppress(FileNotFoundError):
            path.unlink()
            sync(path.parent)


def digest(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def copy(source: Path, target: Path) -> str:
    """Copy a file; gives the SHA-256 of what was copied."""
    hashed = hashlib.sha256()
    create(target)
    with source.open("rb") as read, target.open("wb") as written:
        while chunk := read.read(CHUNK):
            hashed.update(chunk)
            written.write(chunk)
    sync(target)
    return hashed.hexdigest()
