"""Whether the archive is the one that the database has its interactions in.

A volume that is not mounted looks like an empty archive: what was archived to it would be hidden
by the next mount, and an erasure would find nothing to erase. So an archive has an identity in a
document of its own, and the database remembers it, as a lock that does not end.
"""

import uuid

from storage.exceptions import StorageError
from storage.interface import Storage

NAME = "archive.json"
"""The document with the archive's identity."""

LOCK = "archive"

FOR_EVER = 100 * 365 * 86_400.0
"""Seconds."""


class ArchiveMismatch(StorageError):
    """The archive is empty, or another database's."""

    def __init__(self) -> None:
        super().__init__(
            "The archive is not the one that this database has used. Is its disk mounted, and are "
            "ARCHIVE_DIR and ARCHIVE_BUCKET as before? Nothing was done. If it was moved, "
            f"{NAME} must be moved with it. If this is a copy, finish it with migrate_storage "
            "--hand-over."
        )


def confirm_archive(storage: Storage) -> None:
    """Raises ArchiveMismatch unless the archive is the database's, or the database had none."""
    files = storage.archive.files
    document = files.read_document(NAME)
    identity = str(uuid.uuid4()) if document is None else str(document["identity"])
    if document is None:
        # Before the database knows of it: one that knows an identity which nothing has is stuck.
        files.write_document(NAME, {"identity": identity})
    if not storage.take_lock_sync(LOCK, identity, FOR_EVER):
        if document is None:
            files.delete(NAME)
        raise ArchiveMismatch
