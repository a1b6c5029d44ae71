"""What the two documents of a backup say: its manifest, and the list of its parts.

The list grows with the database, and the manifest does not: it is what is read to learn which
backups there are, and it has the checksum of the list.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime

import msgspec

from storage.archive import documents
from storage.backups.base import Needs
from storage.backups.inspection import DatabaseContent
from storage.exceptions import DamagedArchive, StorageError
from storage.records.json import format_time

WHOLE_FILES = 1
"""The format of backups whose database is one file. None are made any more."""

FORMAT = 2

NOT_RECORDED = Needs()


class BackupDamaged(StorageError):
    """The file `name` is not what was written."""

    def __init__(self, name: str, problem: str) -> None:
        self.name = name
        super().__init__(f"{name} is damaged: {problem}.")


@dataclass(frozen=True)
class Backup:
    """What the manifest of a backup says."""

    name: str
    sha256: str
    """Of the list of parts; in WHOLE_FILES, of the database file."""
    bytes: int
    """Bytes of the database file."""
    taken_at: datetime
    expires_at: datetime
    """The first run of `backup` after this time deletes it, unless it is one of the newest."""
    sqlite_version: str
    content: DatabaseContent
    needs: Needs = NOT_RECORDED
    format: int = FORMAT


class Parts(msgspec.Struct, frozen=True):
    """What a backup is made of, and what belongs to it elsewhere."""

    chunks: list[str]
    """The names of the chunks that make the database file, in their order."""
    segments: Mapping[str, str]
    """Segments that were complete in the archive, with their generations."""
    large: list[str] = []
    """The versions of the objects with large texts of which there are copies. Their names are
    short, so that nobody who puts a backup together by hand takes one for a chunk's."""


NO_PARTS = Parts([], {})


def dumps(backup: Backup) -> bytes:
    """The manifest."""
    document = asdict(backup)
    times = {name: format_time(document[name]) for name in ("taken_at", "expires_at")}
    content = document.pop("content")
    return documents.dumps(document | times | content)


def loads(file: str, name: str, document: bytes) -> Backup:
    """The backup `name`, from its manifest. Raises BackupDamaged, which names `file`."""
    try:
        content = documents.loads(file, document)
    except DamagedArchive as error:
        raise BackupDamaged(file, "its checksum is not that of its content") from error
    if content.get("name") != name or content.get("format") not in (WHOLE_FILES, FORMAT):
        raise BackupDamaged(file, "it is another backup's, or of a later version")
    return msgspec.convert({**content, "content": content}, Backup)


def dump_parts(parts: Parts) -> bytes:
    """The list of parts, whose checksum is for the manifest."""
    return msgspec.json.encode(parts) + b"\n"


def load_parts(file: str, backup: Backup, document: bytes) -> Parts:
    """The parts of a backup, from their list. Raises BackupDamaged, which names `file`."""
    if hashlib.sha256(document).hexdigest() != backup.sha256:
        raise BackupDamaged(file, "its checksum is not that of its manifest")
    return msgspec.json.decode(document, type=Parts)
