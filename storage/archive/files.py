"""The files of the archive in any storage of Django, with the errors of this project.

This is the one place that knows what can go wrong with files.
"""

import errno
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import IO, Any, NamedTuple, Protocol

from django.core.files.base import ContentFile, File

from storage.archive import documents
from storage.exceptions import StorageFull, StorageUnavailable

REMEDY = "Check ARCHIVE_DIR or ARCHIVE_BUCKET, and what this process may do there."

LARGE = "large/"
"""The beginning of the names of objects with large texts."""

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Entry(NamedTuple):
    """A file in a list."""

    name: str
    """With its folders. A folder without files may be an entry, too; its name ends in a slash."""
    bytes: int
    modified: datetime
    """When it was written, by the clock of `Files.server_time`, or of this machine without one."""


class Backend(Protocol):
    """What the archive needs of a Django storage. `save` replaces a file in one step.

    Raises FileNotFoundError for a missing file, and OSError for everything else.
    """

    def save(self, name: str, content: "File[Any]") -> str: ...

    def delete(self, name: str) -> None: ...

    def create_all(self, names: Sequence[str]) -> None: ...

    def delete_all(self, names: Sequence[str]) -> None: ...

    def listdir(self, path: str) -> tuple[list[str], list[str]]: ...

    def entries(self, prefix: str, after: str) -> Iterator[Entry]: ...

    def read_range(self, name: str, offset: int, length: int | None) -> bytes: ...

    def remove_leftovers(self, prefixes: tuple[str, ...], seconds: float = 0) -> None: ...

    def server_time(self) -> datetime | None: ...


class Unchanging:
    """Reads from a backend, and only seems to write to it.

    Large texts that are written go to `scratch`, and are read from there.
    """

    def __init__(self, backend: Backend, scratch: Backend) -> None:
        self.listdir = backend.listdir
        self.entries = backend.entries
        self.server_time = backend.server_time
        self._backend = backend
        self._scratch = scratch

    def read_range(self, name: str, offset: int, length: int | None) -> bytes:
        """What the backend has or, of large texts, what seems to have been written to it."""
        try:
            return self._backend.read_range(name, offset, length)
        except FileNotFoundError:
            return self._scratch.read_range(name, offset, length)

    def save(self, name: str, content: "File[Any]") -> str:
        """Writes nothing to the backend."""
        return self._scratch.save(name, content) if name.startswith(LARGE) else name

    def delete(self, name: str) -> None:
        """Deletes nothing."""

    def create_all(self, names: Sequence[str]) -> None:
        """Creates nothing."""

    def delete_all(self, names: Sequence[str]) -> None:
        """Deletes nothing."""

    def remove_leftovers(self, prefixes: tuple[str, ...], seconds: float = 0) -> None:
        """Deletes nothing."""


class Files:
    """Files by name. Every method may raise StorageUnavailable, and `write` StorageFull."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend

    def read(self, name: str, offset: int = 0, length: int | None = None) -> bytes | None:
        """`length` bytes from `offset`, fewer at the end of the file. None if it does not exist."""
        with translated(name, "read"):
            try:
                return self.backend.read_range(name, offset, length)
            except FileNotFoundError:
                return None

    def write(self, name: str, content: bytes | IO[bytes]) -> None:
        """Write or replace a file. Once this returns, a power loss does not undo it."""
        file = ContentFile(content) if isinstance(content, bytes) else File(content)
        with translated(name, "written"):
            self.backend.save(name, file)

    def delete(self, name: str) -> None:
        """Delete a file, if it exists, and earlier versions of it."""
        with translated(name, "deleted"):
            self.backend.delete(name)

    def create_all(self, names: Sequence[str]) -> None:
        """Create empty files of new names, as durably as `write`. A failure may leave some."""
        if names:
            with translated(names[0], "written"):
                self.backend.create_all(names)

    def delete_all(self, names: Sequence[str]) -> None:
        """Delete files as `delete` does, in no order. A failure may leave some."""
        if names:
            with translated(names[0], "deleted"):
                self.backend.delete_all(names)

    def folders(self, folder: str = "") -> list[str]:
        """The names of the folders in a folder, without its own name, sorted."""
        with translated(folder, "listed"):
            return sorted(self.backend.listdir(folder)[0])

    def list(self, folder: str) -> list[str]:
        """The names of the files in a folder, without its own name, sorted."""
        with translated(folder, "listed"):
            return sorted(self.backend.listdir(folder)[1])

    def entries(self, prefix: str, after: str = "") -> Iterator[Entry]:
        """The files in a folder and in those within it whose names come after `after`, sorted.

        `prefix` is the folder's name with a slash at its end. Files that are being written, or
        were left half written, are among them.
        """
        found = self.backend.entries(prefix, after)
        while True:
            with translated(prefix, "listed"):
                entry = next(found, None)
            if entry is None:
                return
            yield entry

    def remove_leftovers(self, prefix: str | tuple[str, ...], seconds: float = 0) -> None:
        """Delete hidden leftovers of files whose names begin with a prefix, or one of several.

        Several must be of one folder, which is then listed once. Leftovers are earlier versions,
        and what writes that were interrupted at least `seconds` ago have left.
        """
        prefixes = (prefix,) if isinstance(prefix, str) else prefix
        if prefixes:  # a bucket would list everything
            with translated(prefixes[0], "cleaned up"):
                self.backend.remove_leftovers(prefixes, seconds)

    def server_time(self) -> datetime | None:
        """What the clock of the server says that keeps the files; None if there is no server."""
        with translated("", "asked for the time"):
            return self.backend.server_time()

    def read_document(self, name: str) -> documents.Content | None:
        """The content of a document, or None if it does not exist. Raises DamagedArchive."""
        document = self.read(name)
        return None if document is None else documents.loads(name, document)

    def write_document(self, name: str, content: documents.Content) -> None:
        """Write or replace a document."""
        self.write(name, documents.dumps(content))


@contextmanager
def translated(name: str, done: str, remedy: str = REMEDY) -> Iterator[None]:
    """Raises errors of files as StorageFull or StorageUnavailable, with the file's name."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise StorageFull(f"There is no space left: {name} could not be {done}.") from error
        reason = error.strerror or type(error).__name__
        raise StorageUnavailable(
            f"{name or 'The archive'} could not be {done}: {reason}. {remedy}"
        ) from error
