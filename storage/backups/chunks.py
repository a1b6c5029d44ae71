"""The content of backups, in files that several backups share.

A chunk is a range of a database file. Its name is the SHA-256 of its content, so what has not
changed since the last backup is there already. It is compressed, and `zstd -dc` reads it.
"""

import hashlib
import logging
import os
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from storage.archive import durable, owners
from storage.backups.manifests import BackupDamaged
from storage.backups.shared_files import name_of_shared, read_shared
from storage.compat import batched, zstd

logger = logging.getLogger(__name__)

BYTES = 16 * 1024
"""Of a database in one chunk: see docs/decisions/0034-backups-of-chunks.md."""

LONGEST = 1024 * 1024
"""That a chunk may ever be, so that BYTES can change, and damage cannot fill the memory."""

SUFFIX = ".zst"
LEVEL = 3
THREADS = 32
"""Most of the time is spent in `fsync`. A file system syncs for many threads in one step."""

GROUP = 16
"""Chunks that a thread takes at once."""

GROUPS = 64
"""In memory at once."""


class Kept(NamedTuple):
    """A chunk that is in its folder."""

    name: str
    written: int
    """By how many bytes the folder grew. 0 if it was there already."""


class Chunks:
    """The chunks in `folder`. The lock of the backups keeps other processes away."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def keep(self, contents: Iterable[bytes]) -> Iterator[Kept]:
        """Write the chunks that are not there, or are damaged. Yields one for each content.

        They are on the disk when the last one was yielded.
        """
        durable.make_folder(self.folder)
        written: set[str] = set()
        with ThreadPoolExecutor(THREADS) as executor:
            for groups in batched(batched(contents, GROUP), GROUPS):
                for kept in chain.from_iterable(executor.map(self._keep_group, groups)):
                    # Two threads may have written the same content at the same moment.
                    yield Kept(kept.name, 0) if kept.name in written else kept
                    if kept.written:
                        written.add(kept.name)
        durable.sync_folder(self.folder)

    def read(self, name: str) -> bytes:
        """The content of a chunk. Raises BackupDamaged."""
        path = self._path(name)
        content = _decompressed(read_shared(path))
        if content is None or hashlib.sha256(content).hexdigest() != name:
            raise BackupDamaged(name_of_shared(path), "its content is not what its name says")
        return content

    def remove_others(self, kept: set[str]) -> None:
        """Delete all chunks but those with these names, and what was not written completely."""
        for path in sorted(self.folder.glob(f"*{SUFFIX}*")):
            if path.suffix != SUFFIX or path.stem not in kept:
                path.unlink()
        durable.sync_folder(self.folder)  # nothing of it comes back after a power loss

    def _keep_group(self, contents: list[bytes]) -> list[Kept]:
        return [self._keep(content) for content in contents]

    def _keep(self, content: bytes) -> Kept:
        name = hashlib.sha256(content).hexdigest()
        path = self._path(name)
        if _has(path, content):
            return Kept(name, 0)
        compressed = zstd.compress(content, LEVEL)
        # The same content may be in another thread's hands.
        partial = path.with_name(f"{path.name}.partial.{threading.get_ident()}")
        partial.unlink(missing_ok=True)
        with durable.create(partial) as file:
            owners.give(file.fileno(), self.folder)
            file.write(compressed)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        return Kept(name, len(compressed))

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}{SUFFIX}"


def _has(path: Path, content: bytes) -> bool:
    """Whether a file has this content. Logs that it is damaged, as by a sector of the disk."""
    try:
        if _decompressed(read_shared(path)) == content:
            return True
    except BackupDamaged as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return False
    logger.warning("%s in BACKUP_DIR was damaged, and is written again.", path.name)
    return False


def _decompressed(stored: bytes) -> bytes | None:
    """None if it is damaged; not more than LONGEST."""
    try:
        return zstd.ZstdDecompressor().decompress(stored, LONGEST)
    except zstd.ZstdError:
        return None
