"""The archive as a folder on this machine."""

import contextlib
import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from django.core.files import File
from django.core.files.storage import FileSystemStorage

TEMPORARY = ".tmp"
"""How names of files end that are being written. No listing shows them."""

ATTEMPTS = 100
"""Makings of a folder that another process deletes, empty, before a file is in it."""


class ArchiveFolder(FileSystemStorage):
    """Files that come to be, are replaced and go in one step, which a power loss does not undo.

    Only the user that this runs as can read them.
    """

    def __init__(self, location: str | Path) -> None:
        super().__init__(
            location=location,
            file_permissions_mode=0o600,
            directory_permissions_mode=0o700,
            allow_overwrite=True,
        )

    def read_range(self, name: str, offset: int, length: int | None) -> bytes:
        """So many bytes from `offset`, all if `length` is None; fewer where the file ends."""
        with Path(self.path(name)).open("rb") as file:
            file.seek(offset)
            return file.read(-1 if length is None else length)

    def listdir(self, path: str) -> tuple[list[str], list[str]]:
        """Folders and files in a folder. One that is not there is empty, as in a bucket."""
        try:
            folders, files = super().listdir(path)
        except FileNotFoundError:
            return [], []
        return folders, [file for file in files if not file.endswith(TEMPORARY)]

    def delete(self, name: str) -> None:
        """Delete a file, if it is there."""
        path = Path(self.path(name))
        path.unlink(missing_ok=True)
        _sync(path.parent)  # also of what a crash has deleted, maybe in memory only

    def remove_leftovers(self, prefix: str, seconds: float = 0) -> None:
        """Delete what a crash has left of the writing of files whose names begin with `prefix`, and
        their folder if nothing is in it. With `seconds`, only what is at least that old.
        """
        folder, _, beginning = prefix.rpartition("/")
        try:
            entries = list(os.scandir(self.path(folder)))
        except FileNotFoundError:
            return
        for entry in entries:
            is_leftover = entry.name.startswith(beginning) and entry.name.endswith(TEMPORARY)
            if is_leftover and _age(entry) >= seconds:
                self.delete(f"{folder}/{entry.name}")
        self._prune(Path(self.path(folder)))

    def _save(self, name: str, content: "File[Any]") -> str:
        path = Path(self.path(name))
        with self._temporary(path) as (temporary, file):
            for chunk in content.chunks():
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
            temporary.replace(path)
            _sync(path.parent)
        return name

    @contextlib.contextmanager
    def _temporary(self, path: Path) -> Iterator[tuple[Path, IO[bytes]]]:
        temporary = path.with_name(f"{path.name}.{secrets.token_hex(8)}{TEMPORARY}")
        file = os.fdopen(self._created(temporary), "wb")
        try:
            with file:
                yield temporary, file
        finally:
            temporary.unlink(missing_ok=True)

    def _created(self, path: Path) -> int:
        for attempt in range(ATTEMPTS):
            self._make_folder(path.parent)
            try:
                return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            except FileNotFoundError:
                if attempt == ATTEMPTS - 1:
                    raise
        raise AssertionError

    def _make_folder(self, folder: Path) -> None:
        if folder.is_dir():
            return
        if folder == Path(self.location):
            folder.parent.mkdir(parents=True, exist_ok=True)
        else:
            self._make_folder(folder.parent)
        with contextlib.suppress(FileExistsError):  # what is there shows when it is used
            folder.mkdir(mode=0o700)
        _sync(folder.parent)

    def _prune(self, folder: Path) -> None:
        if folder == Path(self.location):
            return
        try:
            folder.rmdir()
            _sync(folder.parent)
        except OSError:
            return  # something is in it, or comes into it


def _age(entry: os.DirEntry[str]) -> float:
    try:
        return time.time() - entry.stat().st_mtime
    except FileNotFoundError:  # it is written, and has its name now
        return -1


def _sync(folder: Path) -> None:
    """Make the names in a folder outlive a power loss."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:  # another process has emptied and deleted it since
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
