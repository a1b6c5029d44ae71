"""Objects with large texts that a restored copy names, and the archive has no more.

They were deleted after the moment that was restored: their rows were replaced, deleted or archived
since. A backup of the SQL database has copies of them, which are put back before the copy is used.
DynamoDB's recovery has none. A row whose texts are nowhere is deleted: it would be an interaction
that cannot be read, and stop every list at its place.
"""

from storage.backups.base import RestoredDatabase, RestoreReport
from storage.large.objects import LargeObjects


def put_back(restored: RestoredDatabase, report: RestoreReport) -> None:
    """Put objects back, or delete the rows that name them. Counts in `report` as it goes.

    For after the erasures of a copy: what is of users who were erased is gone by then.
    """
    storage = restored.storage
    if storage is None:
        return
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
            report.large_texts_lost += storage.database.delete(interaction_id, user_id)
