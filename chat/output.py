"""The place that a command was told to write to: a file, a device, a pipe, or one that is open."""

import os
import re
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from storage.archive import durable

_STANDARD = {"/dev/stdin": 0, "/dev/stdout": 1, "/dev/stderr": 2}
_NUMBERED = re.compile(r"/(?:dev|proc/self)/fd/(\d+)", re.ASCII)


@contextmanager
def opened(name: str) -> Iterator[IO[bytes]]:
    """Open a place for writing; `-` is standard output. Raises OSError.

    A regular file is replaced when the new one is complete and on the disk. Only its owner can read
    it, or nobody whom the old one kept out. Links are followed. What is no regular file is written
    to as it is.
    """
    if name == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    path = _followed(name)
    if (descriptor := _open_descriptor(path)) is not None:
        opened = os.fdopen(os.dup(descriptor), "wb")
    elif path.exists() and not path.is_file():
        opened = path.open("wb")
    else:
        with _replacing(path) as file:
            yield file
        return
    with opened as file:
        yield file


def _followed(name: str) -> Path:
    """What a link leads to in the end, which need not exist."""
    path = Path(name).absolute()
    with suppress(FileNotFoundError):
        path.stat()  # raises OSError if links lead to each other
    while _open_descriptor(path) is None and path.is_symlink():
        _refuse_if_planted(path)
        path = path.parent / path.readlink()
    return path


def _open_descriptor(path: Path) -> int | None:
    """The number of an open file, if that is what the path names.

    To open such a path would be to open the file anew, at its beginning.
    """
    match = _NUMBERED.fullmatch(str(path))
    return int(match[1]) if match else _STANDARD.get(str(path))


def _refuse_if_planted(link: Path) -> None:
    """Raise PermissionError for another user's link in a folder such as /tmp, as Linux does."""
    folder = link.parent.stat()
    is_shared = folder.st_mode & stat.S_ISVTX and folder.st_mode & stat.S_IWOTH
    if is_shared and link.lstat().st_uid not in (os.geteuid(), folder.st_uid):
        raise PermissionError(f"{link} is another user's link in a folder that all users share.")


@contextmanager
def _replacing(path: Path) -> Iterator[IO[bytes]]:
    mode = durable.OWNER_ONLY
    if path.exists():
        mode &= path.stat().st_mode
    partial = durable.partial_of(path)
    partial.unlink(missing_ok=True)
    with durable.create(partial) as file:
        os.fchmod(file.fileno(), mode)
        made = os.fstat(file.fileno())
        try:
            yield file
            file.flush()
            if not _is(partial, made):
                raise FileExistsError(f"Another export to {path} has begun; this one has ended.")
            durable.rename(partial, path)
        finally:
            if _is(partial, made):
                partial.unlink()


def _is(path: Path, file: os.stat_result) -> bool:
    try:
        return os.path.samestat(path.lstat(), file)
    except FileNotFoundError:
        return False
