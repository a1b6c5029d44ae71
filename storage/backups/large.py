"""The large texts of backups: a copy of each object that a backed up row names.

Objects never change, so what an earlier backup has is there already. Each is stored as in the
archive, under its version, and `zstd -dc` reads it.
"""

import hashlib
import logging
import re
import sqlite3
from collections.abc import Callable, Iterable
from pathlib import Path

from storage.archive import durable
from storage.backups.base import Contents
from storage.backups.inspection import CheckTime
from storage.backups.manifests import BackupDamaged
from storage.backups.shared_files import name_of_shared, read_shared
from storage.records.texts import TextObject

logger = logging.getLogger(__name__)

FOLDER = "large"
"""The folder in the folder of backups."""

SUFFIX = ".zst"

_VERSION = re.compile(rb'"([0-9a-f]{32})"')
"""In a list of parts, even if that is damaged."""


class KeptTexts:
    """The copies in `folder`. The lock of the backups keeps other processes away."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def keep(
        self,
        named: Iterable[TextObject],
        contents: Contents,
        whole: set[str],
        check_time: CheckTime,
    ) -> tuple[int, list[TextObject]]:
        """Copy what is not there, or is damaged. Returns the bytes written, and what nobody has.

        `whole` has the versions that this run has seen to be there, and gets more of them.
        """
        written = 0
        missing: list[TextObject] = []
        for kept in named:
            check_time()
            if kept.version in whole or self._is_there(kept):
                whole.add(kept.version)
                continue
            content = contents(kept)
            if content is None:
                missing.append(kept)
            else:
                durable.make_folder(self.folder)
                durable.write(self._path(kept), content)
                whole.add(kept.version)
                written += len(content)
        return written, missing

    def read(self, kept: TextObject) -> bytes:
        """A copy as it is stored. Raises BackupDamaged."""
        path = self._path(kept)
        content = read_shared(path)
        if not is_whole(kept, content):
            problem = "its checksum is not that of the row that names it"
            raise BackupDamaged(name_of_shared(path), problem)
        return content

    def remove_others(self, versions: set[str]) -> None:
        """Delete all copies but those of these versions, and what was not written completely."""
        for path in sorted(self.folder.glob(f"*{SUFFIX}*")):
            if path.suffix != SUFFIX or path.stem not in versions:
                path.unlink()
        if self.folder.exists():
            durable.sync_folder(self.folder)

    def _is_there(self, kept: TextObject) -> bool:
        try:
            self.read(kept)
        except BackupDamaged as error:
            if not isinstance(error.__cause__, FileNotFoundError):
                logger.warning("In BACKUP_DIR %s It is written again, if the text is known.", error)
            return False
        return True

    def _path(self, kept: TextObject) -> Path:
        return self.folder / f"{kept.version}{SUFFIX}"


def versions_in(document: bytes) -> set[str]:
    """The versions that a list of parts seems to name."""
    return {version.decode() for version in _VERSION.findall(document)}


def named_by(connection: sqlite3.Connection) -> list[TextObject]:
    """The objects that the rows of a database name; none if it is of an earlier version."""
    table = "storage_chatinteraction"
    columns = connection.execute("SELECT name FROM pragma_table_info(?)", (table,)).fetchall()
    if ("text_object",) not in columns:
        return []
    rows = connection.execute(
        "SELECT text_object FROM storage_chatinteraction WHERE text_object IS NOT NULL"
    )
    return [TextObject.loads(value) for (value,) in rows]


def from_archive(read: Callable[[str], bytes | None]) -> Contents:
    """The objects in an archive, by what reads a file of it."""

    def contents(kept: TextObject) -> bytes | None:
        content = read(kept.name)
        return content if content is not None and is_whole(kept, content) else None

    return contents


def is_whole(kept: TextObject, content: bytes) -> bool:
    """Whether this is the object that the row names."""
    return hashlib.sha256(content).hexdigest() == kept.sha256


def from_backup(texts: KeptTexts) -> Contents:
    """The copies of a backup; a damaged one is not there."""

    def contents(kept: TextObject) -> bytes | None:
        try:
            return texts.read(kept)
        except BackupDamaged:
            return None

    return contents
