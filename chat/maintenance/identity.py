"""Checking that the archive is the one that belongs to the database.

A volume that is not mounted looks like an empty archive: what was archived to it would be hidden
by the next mount, and an erasure would find nothing to erase. So an archive has an identity in a
document of its own, and the database remembers which archive it has used.
"""

import math
import uuid

from storage.exceptions import StorageError, StorageUnavailable
from storage.interface import Storage

NAME = "archive.json"
"""The document with the archive's identity."""

LOCK = "archive"
"""The name under which the database remembers the archive's identity.

It is a lock, because every backend has locks that are taken in one step and by one owner only: its
owner is the identity.
"""

FOR_EVER = math.inf
"""Seconds until that lock ends: it never does."""

FIRST_USE = "archive-first-use"
"""The lock that a process holds while it gives an archive its identity."""

FIRST_USE_SECONDS = 60.0


class ArchiveMismatch(StorageError):
    """The archive is empty, or belongs to another database."""

    def __init__(self) -> None:
        super().__init__(
            "The archive is not the one that this database has used. Is its disk mounted, and are "
            "ARCHIVE_DIR and ARCHIVE_BUCKET as before? Nothing was done. If it was moved, "
            f"{NAME} must be moved with it. If this is a copy, finish it with migrate_storage "
            "--hand-over. If it is lost for good, go on without it: restore --archive-lost."
        )


class ArchiveOfAnother(ArchiveMismatch):
    """The database is new, but the archive has interactions: of another database or a lost one."""

    def __init__(self) -> None:
        StorageError.__init__(
            self,
            "The archive has interactions, and this database knows of none. Is it the right "
            "database? After migrate_storage --hand-over the old one is not. Nothing was done. If "
            "the right one was lost, restore it from a backup: manage.py restore. Without one, set "
            "the archive aside, and import its *.jsonl.zst files with import_interactions.",
        )


def check_archive(storage: Storage, *, adopt: bool = False) -> None:
    """Raise ArchiveMismatch unless the archive belongs to the database, or both are new.

    Changes nothing. With `adopt`, a new database may take an archive that has interactions, because
    its stubs are made to agree next. Otherwise it may not: without stubs, all rows of the archive
    count as deleted.
    """
    remembered = storage.database.lock_owner(LOCK, FOR_EVER)
    if remembered is None:
        if not adopt and storage.archive.days():
            raise ArchiveOfAnother
    elif remembered != _identity(storage):
        raise ArchiveMismatch


def require_archive(storage: Storage) -> None:
    """Raise ArchiveMismatch if the archive that the database has used is not there.

    For what is read: without that archive, the answer would look complete and lack what is cold.
    """
    remembered = storage.database.lock_owner(LOCK, FOR_EVER)
    if remembered is not None and remembered != _identity(storage):
        raise ArchiveMismatch


def confirm_archive(storage: Storage, *, adopt: bool = False) -> None:
    """As `check_archive`; and if both are new, let the database remember the archive."""
    check_archive(storage, adopt=adopt)
    identity = _identity(storage) or _new_identity(storage)
    if not storage.database.acquire_lock(LOCK, identity, FOR_EVER):  # another one came first
        raise ArchiveMismatch


def accept_loss(storage: Storage) -> None:
    """Let an empty archive take the place of the one that the database remembers, which is lost.

    If it is the one after all, nothing changes. Raises ArchiveMismatch if it is another one that
    has interactions: it could be another database's.
    """
    try:
        confirm_archive(storage, adopt=True)
    except ArchiveMismatch:
        if storage.archive.days():
            raise
        storage.database.drop_lock(LOCK)
        confirm_archive(storage, adopt=True)


def _identity(storage: Storage) -> str | None:
    document = storage.archive.files.read_document(NAME)
    return None if document is None else str(document["identity"])


def _new_identity(storage: Storage) -> str:
    """Write an identity to the archive and return it. Raises StorageUnavailable.

    The archive has it before the database does: an identity that only the database had would never
    match again. One process at a time does this, so that all of them see the same identity.
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
