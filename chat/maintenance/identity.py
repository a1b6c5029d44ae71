"""Whether the archive is the one that the database has its interactions in.

A volume that is not mounted looks like an empty archive: what was archived to it would be hidden
by the next mount, and an erasure would find nothing to erase. So an archive has an identity in a
document of its own, and the database remembers it, as a lock that does not end.
"""

import uuid

from storage.exceptions import StorageError, StorageUnavailable
from storage.interface import Storage

NAME = "archive.json"
"""The document with the archive's identity."""

LOCK = "archive"

FOR_EVER = 100 * 365 * 86_400.0
"""Seconds."""


FIRST_USE = "archive-first-use"
"""The lock under which an archive gets its identity."""

FIRST_USE_SECONDS = 60.0


class ArchiveMismatch(StorageError):
    """The archive is empty, or another database's."""

    def __init__(self) -> None:
        super().__init__(
            "The archive is not the one that this database has used. Is its disk mounted, and are "
            "ARCHIVE_DIR and ARCHIVE_BUCKET as before? Nothing was done. If it was moved, "
            f"{NAME} must be moved with it. If this is a copy, finish it with migrate_storage "
            "--hand-over."
        )


class ArchiveOfAnother(ArchiveMismatch):
    """The database is new, and the archive has interactions of another one, or of a lost one."""

    def __init__(self) -> None:
        StorageError.__init__(
            self,
            "The archive has interactions, and this database knows of none. Is it the right "
            "database? After migrate_storage --hand-over the old one is not. Nothing was done. If "
            "the right one was lost, restore it from a backup: manage.py restore. Without one, set "
            "the archive aside, and import its *.jsonl.zst files with import_interactions.",
        )


def confirm_archive(storage: Storage, *, adopt: bool = False) -> None:
    """Raises ArchiveMismatch unless the archive is the database's, or neither had another.

    With `adopt`, a database that had none may take one that has interactions: its stubs are made
    to agree with it next. Without stubs, all that is in the archive would count as deleted.
    """
    files = storage.archive.files
    document = files.read_document(NAME)
    if not adopt and _has_none(storage) and storage.archive.days():
        raise ArchiveOfAnother
    identity = _new_identity(storage) if document is None else str(document["identity"])
    if not storage.database.acquire_lock(LOCK, identity, FOR_EVER):
        if document is None:
            files.delete(NAME)
        raise ArchiveMismatch


def _has_none(storage: Storage) -> bool:
    """Whether the database knows of no archive: a lock that ends at once can be taken."""
    return storage.database.acquire_lock(LOCK, str(uuid.uuid4()), 0.0)


def _new_identity(storage: Storage) -> str:
    """Write one, before the database knows of it: an identity that nothing has would be stuck.

    One process at a time does, so that all know the same.
    """
    owner = str(uuid.uuid4())
    if not storage.database.acquire_lock(FIRST_USE, owner, FIRST_USE_SECONDS):
        raise StorageUnavailable("The archive is being used for the first time; try again.")
    try:
        files = storage.archive.files
        document = files.read_document(NAME) or {"identity": str(uuid.uuid4())}
        files.write_document(NAME, document)
        return str(document["identity"])
    finally:
        storage.database.release_lock(FIRST_USE, owner)
