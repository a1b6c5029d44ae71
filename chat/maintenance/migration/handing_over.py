"""To which of two databases an archive belongs, while one becomes a copy of the other.

By default both databases use one archive. Maintenance removes the rows of a segment that have no
stub in its own database: a run over an unfinished copy would remove what only the source knows, and
later a run over the old database what only the new one has archived. But a run refuses an archive
that does not belong to its database (`chat.maintenance.identity`). So before the first write the
target is set apart, as if it had another archive, and handing over exchanges the roles. For a
moment in between the archive belongs to both, but this command, which holds both locks, is then the
only one at work.

The objects with large texts of both databases are in the archive until then, and a run over one of
them could not tell those of the other from leftovers. A document says so.
"""

from chat.maintenance.identity import ArchiveMismatch, take_over
from storage.archive.archive import Archive
from storage.archive.ownership import FOR_EVER, LOCK, NAME
from storage.interface import Storage

SHARED = "copies/shared.json"
"""The document that says that two databases use the archive."""

APART = "another database"
"""What a database that is set apart remembers in place of an archive's identity."""


def set_apart(target: Storage) -> None:
    """Keep maintenance of the target from using the archive from now on.

    Raises ArchiveMismatch if the target has used another archive.
    """
    target.database.release_lock(LOCK, _identity(target))
    if not target.database.acquire_lock(LOCK, APART, FOR_EVER):
        raise ArchiveMismatch
    target.archive.files.write_document(SHARED, {})


def is_shared(archive: Archive) -> bool:
    """Whether two databases use the archive, one of which is set apart."""
    return archive.files.read(SHARED) is not None


def check_apart(target: Storage) -> None:
    """Raise ArchiveMismatch where `set_apart` would. Changes nothing."""
    document = target.archive.files.read_document(NAME)
    own = None if document is None else document["identity"]
    if target.database.lock_owner(LOCK, FOR_EVER) not in (None, APART, own):
        raise ArchiveMismatch


def hand_over(source: Storage, target: Storage) -> None:
    """Make the archive belong to the target, and no longer to the source."""
    identity = _identity(target)
    target.database.release_lock(LOCK, APART)
    if not target.database.acquire_lock(LOCK, identity, FOR_EVER):
        raise ArchiveMismatch
    take_over(target)
    set_apart(source)
    target.archive.files.delete(SHARED)


def _identity(storage: Storage) -> str:
    """The archive's identity. The run over the source has seen to it that there is one."""
    document = storage.archive.files.read_document(NAME)
    if document is None:
        raise ArchiveMismatch
    return str(document["identity"])
