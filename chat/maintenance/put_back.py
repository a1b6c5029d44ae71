"""Objects with large texts that a restored copy names, and the archive has no more.

They were deleted after the moment that was restored: their rows were replaced, deleted or archived
since. A backup of the SQL database has copies of them, which are put back before the copy is used.
DynamoDB's recovery has none. A row whose texts are nowhere is deleted: it would be an interaction
that cannot be read, and stop every list at its place. If it was archived since, it gets its stub
next, as what is not in the copy does.
"""

from collections.abc import Sequence

from storage.backups.base import RestoredDatabase, RestoreReport
from storage.interface import Storage
from storage.large.objects import LargeObjects


def put_back(restored: RestoredDatabase, report: RestoreReport) -> list[str]:
    """Put objects back, or delete the rows that name them. Returns the ids of these.

    Counts in `report` as it goes. For after the erasures of a copy: what is of users who were
    erased is gone by then. And for before its stubs are corrected.
    """
    deleted: list[str] = []
    storage = restored.storage
    if storage is None:
        return deleted
    objects = LargeObjects(storage.archive.files)
    there = {bytes.fromhex(entry.name[-32:]) for entry in objects.listed()}
    for user_id, interaction_id, kept in storage.database.all_text_objects():
        if bytes.fromhex(kept.version) in there:
            continue
        content = restored.large_texts(kept)
        if content is not None:
            storage.archive.files.write(kept.name, content)
            report.large_texts += 1
        elif storage.archive.files.read(kept.name) is None:  # or it has come since the listing
            is_deleted = storage.database.delete(interaction_id, user_id)
            deleted += [interaction_id] * is_deleted
            report.large_texts_lost += is_deleted
    return deleted


def count_archived(storage: Storage, deleted: Sequence[str], report: RestoreReport) -> None:
    """Of the rows that were deleted, those are not lost that are archived, as their stubs say."""
    report.large_texts_lost -= len(storage.database.stubs(deleted))
