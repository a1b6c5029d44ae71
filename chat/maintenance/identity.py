"""Checking that the archive is the one that belongs to the database.

A volume that is not mounted looks like an empty archive: what was archived to it would be hidden
by the next mount, and an erasure would find nothing to erase. So an archive has an identity in a
document of its own, and the database remembers which archive it has used.

A copy of a database remembers the same one, and there may be a copy beside it: a DynamoDB table
that was restored to look at it. Maintenance of that would remove from the archive what only the
service's table knows. So the archive remembers the database by its name, where it has one.
"""

import uuid
from typing import Any

from storage.archive.archive import Archive
from storage.archive.ownership import (
    DATABASE,
    FOR_EVER,
    IDENTITY,
    LOCK,
    NAME,
    document_of,
    has_used_another,
)
from storage.exceptions import StorageError, StorageUnavailable
from storage.interface import Storage

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


class ArchiveOfTable(ArchiveMismatch):
    """The database is a copy of the one that the archive belongs to."""

    def __init__(self, owner: str, name: str) -> None:
        StorageError.__init__(
            self,
            f"The archive belongs to the table {owner}, and this is {name}. Nothing was done. If "
            f"{name} was restored to look at it, leave the archive alone. If it takes the place of "
            f"{owner}, stop the servers, and run: manage.py restore --to-table {name} "
            "--erase-again",
        )


def check_archive(storage: Storage, *, adopt: bool = False) -> None:
    """Raise ArchiveMismatch unless the archive belongs to the database, or both are new.

    Changes nothing. With `adopt`, a new database may take an archive that has interactions, because
    its stubs are made to agree next, and a copy may use it. Otherwise it may not: without stubs,
    all rows of the archive count as deleted.
    """
    remembered = storage.database.lock_owner(LOCK, FOR_EVER)
    document = _document(storage)
    if remembered is None:
        if not adopt and storage.archive.days():
            raise ArchiveOfAnother
    elif remembered != document.get(IDENTITY):
        raise ArchiveMismatch
    owner, name = document.get(DATABASE), storage.database.name
    if not adopt and owner and name and owner != name:
        raise ArchiveOfTable(owner, name)


def check_remembered(archive: Archive, remembered: str | None) -> None:
    """Raise ArchiveMismatch unless this is the archive that a database remembers, if any."""
    found = (archive.files.read_document(NAME) or {}).get(IDENTITY)
    if remembered is not None and remembered != found:
        raise ArchiveMismatch


def require_archive(storage: Storage) -> None:
    """Raise ArchiveMismatch if the archive that the database has used is not there.

    For what is read: without that archive, the answer would look complete and lack what is cold.
    """
    if has_used_another(storage.database, storage.archive):
        raise ArchiveMismatch


def confirm_archive(storage: Storage, *, adopt: bool = False) -> None:
    """As `check_archive`; and let the database and the archive remember each other.

    With `adopt`, only the database does.
    """
    check_archive(storage, adopt=adopt)
    owner = None if adopt else storage.database.name
    identity = _identity(storage) or _new_identity(storage, owner)
    if not storage.database.acquire_lock(LOCK, identity, FOR_EVER):  # another one came first
        raise ArchiveMismatch
    if owner and _document(storage).get(DATABASE) is None:  # as earlier versions left it
        take_over(storage)


def take_over(storage: Storage) -> None:
    """Let the archive belong to this database, and to no other that it has a copy of."""
    document = _document(storage)
    if document.get(DATABASE) != storage.database.name:
        storage.archive.files.write_document(NAME, document | {DATABASE: storage.database.name})


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


def belongs_to(archive: Archive, name: str) -> bool:
    """Whether the archive belongs to the database with this name."""
    return document_of(archive).get(DATABASE) == name


def _identity(storage: Storage) -> str | None:
    return _document(storage).get(IDENTITY)


def _document(storage: Storage) -> dict[str, Any]:
    """What the archive says of itself, or nothing."""
    return document_of(storage.archive)


def _new_identity(storage: Storage, owner: str | None) -> str:
    """Write an identity and an owner to the archive; returns it. Raises StorageUnavailable.

    The archive has it before the database does: an identity that only the database had would never
    match again. One process at a time does this, so that all of them see the same identity.
    """
    holder = str(uuid.uuid4())
    if not storage.database.acquire_lock(FIRST_USE, holder, FIRST_USE_SECONDS):
        raise StorageUnavailable("The archive is being used for the first time; try again.")
    try:
        files = storage.archive.files
        document = files.read_document(NAME) or {IDENTITY: str(uuid.uuid4()), DATABASE: owner}
        files.write_document(NAME, document)
        return str(document[IDENTITY])
    finally:
        storage.database.release_lock(FIRST_USE, holder)
