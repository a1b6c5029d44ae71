"""A table of counters in a file that the processes of a machine map into their memory.

A lock on the file lasts as long as the process that holds it, and takes 2 µs; a transaction of
SQLite takes 100. The place of an entry follows from its digest. Where all places are taken, the
entry that counts least makes room, so that a flood of new addresses cannot make the counters of
the busy ones start again.
"""

import contextlib
import fcntl
import logging
import mmap
import os
import struct
import tempfile
import threading
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from storage.archive import durable, owners

logger = logging.getLogger(__name__)

DIGEST_BYTES = 16
_FIELDS = struct.Struct("=QII")
_ENTRY = struct.Struct(f"={DIGEST_BYTES}xQII")
_ENTRY_BYTES = _ENTRY.size
_BUCKET_BYTES = 8 * _ENTRY_BYTES
_BUCKETS = 4096
_BYTES = _BUCKETS * _BUCKET_BYTES
"""1 MiB: 32,768 entries."""


class Entry(NamedTuple):
    """Two counts, and until when they mean something."""

    expires: int
    """On the machine's monotonic clock, in milliseconds."""
    previous: int
    current: int


NOTHING = Entry(0, 0, 0)


class Table:
    """Use it as a context manager: meanwhile no other thread or process has the table.

    A forked child must open its own.
    """

    def __init__(self, path: Path) -> None:
        self._threads = threading.Lock()
        self._descriptor: int | None = None
        try:
            self._descriptor = _opened(path)
            self._memory = mmap.mmap(self._descriptor, _BYTES)
        except (OSError, ValueError) as error:
            logger.warning("Each process counts calls for itself: %s", error)
            self._memory = mmap.mmap(-1, _BYTES)
        self._get = partial(_ENTRY.unpack_from, self._memory)
        self._put = partial(_FIELDS.pack_into, self._memory)

    def __enter__(self) -> "Table":
        self._threads.acquire()
        if self._descriptor is not None:
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX)
            except BaseException:
                self._threads.release()
                raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._descriptor is not None:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        self._threads.release()

    def read(self, digest: bytes) -> tuple[int, int, int]:
        """Returns the entry of a digest, NOTHING if there is none."""
        at = self._find(digest)
        return NOTHING if at < 0 else self._get(at)

    def write(self, digest: bytes, now: int, entry: tuple[int, int, int]) -> None:
        """Set the entry of a digest. `now` is on the clock of `expires`."""
        at = self._find(digest)
        if at < 0:
            at = self._room(digest, now)
            self._memory[at : at + DIGEST_BYTES] = digest
        self._put(at + DIGEST_BYTES, *entry)

    def remove(self, digest: bytes) -> None:
        """Remove the entry of a digest, if there is one."""
        at = self._find(digest)
        if at >= 0:
            self._memory[at : at + _ENTRY_BYTES] = bytes(_ENTRY_BYTES)

    def _find(self, digest: bytes) -> int:
        bucket = _bucket(digest)
        return self._memory.find(digest, bucket, bucket + _BUCKET_BYTES)

    def _room(self, digest: bytes, now: int) -> int:
        """The place in the bucket of a digest that is free, or else the one that counts least."""
        bucket = _bucket(digest)
        places = range(bucket, bucket + _BUCKET_BYTES, _ENTRY_BYTES)
        return min(places, key=lambda at: self._weight(at, now))

    def _weight(self, at: int, now: int) -> int:
        entry = Entry(*self._get(at))
        return entry.previous + entry.current if entry.expires > now else -1


def _bucket(digest: bytes) -> int:
    return int.from_bytes(digest[:4], "big") % _BUCKETS * _BUCKET_BYTES


def _opened(path: Path) -> int:
    """A descriptor of the file, which is made if it is missing. Raises OSError.

    Every byte is written when it is made: a mapped page that finds the disk full is a SIGBUS.
    """
    if not path.exists():
        durable.make_folder(path.parent)
        descriptor, made = tempfile.mkstemp(dir=path.parent)  # only its owner can read it
        try:
            with os.fdopen(descriptor, "wb") as file:
                owners.give(descriptor, path.parent)
                file.write(bytes(_BYTES))
            with contextlib.suppress(FileExistsError):
                os.link(made, path)  # another process may have been first
        finally:
            Path(made).unlink()
    descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
    if os.fstat(descriptor).st_size != _BYTES:
        os.close(descriptor)
        raise OSError(f"{path} is not a table of {_BYTES} bytes. Remove it, and start again.")
    return descriptor
