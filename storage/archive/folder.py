"""The archive as a folder on this machine."""

import contextlib
import io
import os
import secrets
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from django.core.files import File
from django.core.files.storage import FileSystemStorage

from storage.archive import durable, owners
from storage.archive.files import Entry

TEMPORARY = ".tmp"
"""The end of the name of a file that is being written. No listing shows such files."""

ATTEMPTS = 100
"""Attempts to create a file in a folder that another process may remove while it is empty."""


class ArchiveFolder(FileSystemStorage):
    """Files that are created, replaced and deleted in one step, which a power loss does not undo.

    Only the user that this process runs as can read them; what root makes, the folder's owner.
    """

    def __init__(self, location: str | Path) -> None:
        super().__init__(
            location=location,
            file_permissions_mode=durable.OWNER_ONLY,
            directory_permissions_mode=0o700,
            allow_overwrite=True,
        )

    def read_range(self, name: str, offset: int, length: int | None) -> bytes:
        """`length` bytes from `offset`, or all if it is None; fewer where the file ends."""
        # Path.open would take as long again, and a page of the archive reads a hundred files.
        with open(self.path(name), "rb", buffering=0) as file:  # noqa: PTH123
            file.seek(offset)
            return file.read() if length is None else _read(file, length)

    def listdir(self, path: str) -> tuple[list[str], list[str]]:
        """The folders and files in a folder. A missing folder is empty, as in a bucket."""
        try:
            folders, files = super().listdir(path)
        except FileNotFoundError:
            return [], []
        return folders, [file for file in files if not file.endswith(TEMPORARY)]

    def entries(self, prefix: str, after: str) -> Iterator[Entry]:
        """The files below a folder, and empty folders, whose names come after `after`, sorted."""
        try:
            found = {entry.name: entry for entry in os.scandir(self.path(prefix))}
        except (FileNotFoundError, NotADirectoryError):
            return
        for name in sorted(found):
            whole = f"{prefix}{name}"
            if found[name].is_dir():
                if f"{whole}0" > after:  # a zero follows the slash
                    yield from self.entries(f"{whole}/", after)
            elif whole > after and (entry := _listed(whole, found[name])):
                yield entry
        if not found and prefix > after:
            with contextlib.suppress(FileNotFoundError):
                yield _entry(prefix, Path(self.path(prefix)).stat(), 0)

    def server_time(self) -> None:
        """A folder has no clock of its own."""
        return None

    def delete(self, name: str) -> None:
        """Delete a file if it exists."""
        self.delete_all([name])

    def create_all(self, names: Sequence[str]) -> None:
        """Create empty files: with their names on the disk, nothing of them is missing."""
        paths = [Path(self.path(name)) for name in names]
        for path in paths:
            self._created(path).close()
        for folder in {path.parent for path in paths}:
            durable.sync_folder(folder)

    def delete_all(self, names: Sequence[str]) -> None:
        """Delete files if they exist. Each folder is written to the disk once."""
        paths = [Path(self.path(name)) for name in names]
        for path in paths:
            path.unlink(missing_ok=True)
        # Also if they are gone: a process that crashed may have deleted them in memory only.
        for folder in {path.parent for path in paths}:
            durable.sync_folder(folder)

    def remove_leftovers(self, prefixes: tuple[str, ...], seconds: float = 0) -> None:
        """Delete what crashes have left of writing files whose names begin with one of `prefixes`.

        With `seconds`, only what is at least that old. Their folder goes, too, if it is empty.
        """
        folder = prefixes[0].rpartition("/")[0]
        beginnings = tuple(prefix.rpartition("/")[2] for prefix in prefixes)
        try:
            entries = list(os.scandir(self.path(folder)))
        except FileNotFoundError:
            return
        for entry in entries:
            is_leftover = entry.name.startswith(beginnings) and entry.name.endswith(TEMPORARY)
            if is_leftover and _age(entry) >= seconds:
                self.delete(f"{folder}/{entry.name}")
        self._prune(Path(self.path(folder)))

    def _save(self, name: str, content: "File[Any]") -> str:
        path = Path(self.path(name))
        # A name of its own: several processes may write the same file at once.
        temporary = path.with_name(f"{path.name}.{secrets.token_hex(8)}{TEMPORARY}")
        try:
            with self._created(temporary) as file:
                for chunk in content.chunks():
                    file.write(chunk)
            durable.rename(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        return name

    def _created(self, path: Path) -> IO[bytes]:
        for attempt in range(ATTEMPTS):
            self._make_folder(path.parent)
            try:
                file = durable.create(path)
            except FileNotFoundError:
                if attempt == ATTEMPTS - 1:
                    raise
            else:
                owners.give(file.fileno(), path.parent)
                return file
        raise AssertionError

    def _make_folder(self, folder: Path) -> None:
        if folder.is_dir():
            return
        if folder == Path(self.location):
            folder.parent.mkdir(parents=True, exist_ok=True)
        else:
            self._make_folder(folder.parent)
        with contextlib.suppress(FileExistsError):  # if it is no folder, its use will fail
            folder.mkdir(mode=0o700)
            owners.give_folder(folder)
        durable.sync_folder(folder.parent)

    def _prune(self, folder: Path) -> None:
        if folder != Path(self.location):
            with contextlib.suppress(OSError):  # it is not empty
                folder.rmdir()
                durable.sync_folder(folder.parent)


def _read(file: io.RawIOBase, length: int) -> bytes:
    """Read so many bytes, fewer at the end: the system may return less than it is asked for."""
    content = file.read(length) or b""
    while len(content) < length and (more := file.read(length - len(content))):
        content += more
    return content


def _listed(name: str, entry: os.DirEntry[str]) -> Entry | None:
    """A file in a list; None if it is gone by now."""
    try:
        status = entry.stat()
    except FileNotFoundError:
        return None
    return _entry(name, status, status.st_size)


def _entry(name: str, status: os.stat_result, size: int) -> Entry:
    return Entry(name, size, datetime.fromtimestamp(status.st_mtime, UTC))


def _age(entry: os.DirEntry[str]) -> float:
    try:
        return time.time() - entry.stat().st_mtime
    except FileNotFoundError:  # it has been renamed: its writer has finished
        return -1
