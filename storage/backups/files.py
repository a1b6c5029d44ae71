"""The files in a folder of backups: their names, what a crash has left of them, and their lock."""

import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from storage.archive import durable, owners
from storage.exceptions import StorageError
from storage.sqlite import in_use

WAIT_SECONDS = 60.0
"""How long a run waits for another one that uses the folder."""

POLL_SECONDS = 0.05

MANIFEST = ".json"
PARTS = ".parts"
DATABASE = ".sqlite3"
INCOMPLETE = ".incomplete"

OF_COMPLETE = (MANIFEST, PARTS, DATABASE)
"""What a backup is made of: a manifest, and a list of parts or, formerly, the database."""

_NAME = re.compile(r"backup-(\d{8}T\d{6}\.\d{6})Z", re.ASCII)
_TIME = "backup-%Y%m%dT%H%M%S.%fZ"
_OURS = re.compile(
    rf"({_NAME.pattern})\.(sqlite3(-wal|-shm|-journal)?|json|parts|incomplete)(\.partial.*)?"
)
_CHUNK = re.compile(rb"[0-9a-f]{64}")


class BackupRefused(StorageError):
    """There is no such backup, or it cannot be made or used now; the message says why."""


def new_name(now: datetime) -> str:
    """The name of a backup that is made now. Later names sort after earlier ones."""
    return now.astimezone(UTC).strftime(_TIME)


def taken_at(name: str) -> datetime:
    """When the backup of this name was made."""
    return datetime.strptime(name, _TIME).replace(tzinfo=UTC)


class BackupFiles:
    """The files in `folder`, which may be missing."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, name: str, suffix: str) -> Path:
        """A file of a backup."""
        return self.folder / f"{name}{suffix}"

    def names(self) -> list[str]:
        """The names of all complete backups, oldest first. Raises OSError."""
        manifests = (file for file in self._listed() if file.endswith(MANIFEST))
        found = (_NAME.fullmatch(file.removesuffix(MANIFEST)) for file in manifests)
        return sorted(match[0] for match in found if match)

    def all_names(self) -> list[str]:
        """The names of all backups of which there is any file, oldest first. Raises OSError."""
        found = map(_OURS.fullmatch, self._listed())
        return sorted({match[1] for match in found if match})

    def leftovers(self) -> list[Path]:
        """Files of backups that are not complete, and of those that are what they do not need."""
        complete = set(self.names())
        found = []
        for path in sorted(self.folder.iterdir()):
            match = _OURS.fullmatch(path.name)
            if match and not (path.suffix in OF_COMPLETE and match[1] in complete):
                found.append(path)
        return found

    def named_chunks(self) -> set[str]:
        """What looks like the name of a chunk in any list of parts, even if that is damaged."""
        found = (_CHUNK.findall(parts) for parts in self.lists_of_parts())
        return {chunk.decode() for chunks in found for chunk in chunks}

    def lists_of_parts(self) -> Iterator[bytes]:
        """The lists of parts of all complete backups."""
        for name in self.names():
            with suppress(FileNotFoundError):
                yield self.path(name, PARTS).read_bytes()

    def _listed(self) -> list[str]:
        """The names of all files. `Path.glob` finds none in a folder that may not be read."""
        try:
            return os.listdir(self.folder)  # noqa: PTH208  (names are enough)
        except FileNotFoundError:
            return []

    @contextmanager
    def locked(self, how: int) -> Iterator[None]:
        """Keep other runs out (LOCK_EX), or only those that change something (LOCK_SH).

        Raises BackupRefused if that takes longer than WAIT_SECONDS.
        """
        flags = os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC
        descriptor = os.open(self.folder / ".lock", flags, durable.OWNER_ONLY)
        try:
            owners.give(descriptor, self.folder)
            deadline = time.monotonic() + WAIT_SECONDS
            while not in_use.locked(descriptor, how):
                if time.monotonic() > deadline:
                    raise BackupRefused(
                        "Another run is making or reading backups; try again when it has ended."
                    )
                time.sleep(POLL_SECONDS)
            yield
        finally:
            os.close(descriptor)
