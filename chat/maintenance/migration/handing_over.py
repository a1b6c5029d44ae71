"""Which of two databases an archive belongs to, while one becomes a copy of the other.

# Note [One archive, two databases]

Both databases of a move use one archive, unless they are told otherwise. Maintenance drops rows of
a segment that have no stub in its own database. So a run over an unfinished copy would drop what
the source has, and one over the old database would later drop what the new one has archived. But a
run refuses an archive that is not its database's (`chat.maintenance.identity`). So the target is
set apart before the first write: as if it had another archive. Handing over changes roles. In
between, for a moment, it is both's; and this command, which holds both locks, is the only one at
work.
"""

from chat.maintenance.identity import FOR_EVER, LOCK, NAME, ArchiveMismatch
from chat.maintenance.runs import Run
from storage.interface import Storage

APART = "another database"
"""What a database remembers in place of an archive's identity."""


class TargetRun(Run):
    """A run that may write to a copy that is set apart: it does not look whose the archive is."""

    def _confirm(self) -> None:
        """It is nobody's business yet."""


def set_apart(target: Storage) -> None:
    """No maintenance of the target's may use the archive from now on.

    Raises ArchiveMismatch if the target has used another archive.
    """
    target.database.release_lock(LOCK, _identity(target))
    if not target.database.acquire_lock(LOCK, APART, FOR_EVER):
        raise ArchiveMismatch


def hand_over(source: Storage, target: Storage) -> None:
    """The archive is the target's from now on, and no longer the source's."""
    identity = _identity(target)
    target.database.release_lock(LOCK, APART)
    if not target.database.acquire_lock(LOCK, identity, FOR_EVER):
        raise ArchiveMismatch
    set_apart(source)


def _identity(storage: Storage) -> str:
    """Of the archive, which has one: the source's run has seen to it."""
    document = storage.archive.files.read_document(NAME)
    if document is None:
        raise ArchiveMismatch
    return str(document["identity"])
