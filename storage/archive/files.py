"""The files of the archive, wherever Django's storage keeps them, with the errors of this project.

This is the one place that knows what can go wrong with files.
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, Protocol

from django.core.files.base import ContentFile, File

from storage.archive import documents
from storage.exceptions import StorageFull, StorageUnavailable

REMEDY = "Check ARCHIVE_DIR or ARCHIVE_BUCKET, and what this process may do there."

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Backend(Protocol):
    """What the archive needs of a Django storage, in which saving replaces, in one step.

    Raises FileNotFoundError for what is not there and OSError for everything else.
    """

    def save(self, name: str, content: "File[Any]") -> str: ...

    def delete(self, name: str) -> None: ...

    def listdir(self, path: str) -> tuple[list[str], list[str]]: ...

    def read_range(self, name: str, offset: int, length: int | None) -> bytes: ...

    def remove_leftovers(self, prefix: str, seconds: float = 0) -> None: ...


class Files:
    """Whole files by name. Every method may raise StorageUnavailable, or StorageFull to write."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def read(self, name: str, offset: int = 0, length: int | None = None) -> bytes | None:
        """So many bytes from `offset`, fewer where the file ends; None if there is no such file."""
        with translated(name, "read"):
            try:
                return self._backend.read_range(name, offset, length)
            except FileNotFoundError:
                return None

    def write(self, name: str, content: bytes | IO[bytes]) -> None:
        """Write a file, or replace it. When this returns, a power loss does not undo it."""
        file = ContentFile(content) if isinstance(content, bytes) else File(content)
        with translated(name, "written"):
            self._backend.save(name, file)

    def delete(self, name: str) -> None:
        """Delete a file, if it is there, with all that is left of its earlier contents."""
        with translated(name, "deleted"):
            self._backend.delete(name)

    def folders(self, folder: str = "") -> list[str]:
        """The names, within it, of the folders in a folder, sorted."""
        with translated(folder, "listed"):
            return sorted(self._backend.listdir(folder)[0])

    def list(self, folder: str) -> list[str]:
        """The names, within it, of the files in a folder, sorted."""
        with translated(folder, "listed"):
            return sorted(self._backend.listdir(folder)[1])

    def remove_leftovers(self, prefix: str, seconds: float = 0) -> None:
        """Delete what nobody sees of files whose names begin with `prefix`: what writings that were
        interrupted at least so many seconds ago have left, and earlier contents.
        """
        with translated(prefix, "cleaned up"):
            self._backend.remove_leftovers(prefix, seconds)

    def read_document(self, name: str) -> documents.Content | None:
        """The content of a document, or None if there is none. Raises DamagedArchive."""
        document = self.read(name)
        return None if document is None else documents.loads(name, document)

    def write_document(self, name: str, content: documents.Content) -> None:
        """Write a document, or replace it."""
        self.write(name, documents.dumps(content))


@contextmanager
def translated(name: str, done: str, remedy: str = REMEDY) -> Iterator[None]:
    """Raises for what is done to a file, whose name is said, what callers of the archive expect."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise StorageFull(f"There is no space left: {name} could not be {done}.") from error
        reason = error.strerror or type(error).__name__
        raise StorageUnavailable(
            f"{name or 'The archive'} could not be {done}: {reason}. {remedy}"
        ) from error
