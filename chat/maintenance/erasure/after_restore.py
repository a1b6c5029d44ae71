"""Bringing a restored database up to date with the ledger and the archive, before it is used.

The copy still has users who were erased since the backup. The ledger of erasures in the archive
knows them by keyed hashes only, so every user of the copy is looked up in it.

The archive has changed as well: a row that was hot is in a segment now, or a stub names a segment
that was rewritten, restored or purged. The segments say where each archived row is, and the stubs
are corrected. A row that is hot in the copy stays hot; its segment is marked for compaction.
"""

from collections.abc import Iterator
from datetime import datetime

from chat.maintenance.erasure.known import Erasures
from chat.maintenance.identity import accept_loss, confirm_archive
from chat.maintenance.policy import LATEST, Policy
from storage import accounts
from storage.backups.base import RestoredDatabase
from storage.batched import batched
from storage.interface import Storage
from storage.models import ChatInteraction
from storage.records.stubs import by_segment

ROWS_AT_ONCE = 100


def bring_up_to_date(
    restored: RestoredDatabase, policy: Policy, *, archive_lost: bool = False
) -> int:
    """Erase again whoever was erased since the backup, and correct the stubs.

    With `archive_lost` an empty archive takes the place of the one that the copy remembers, and
    stubs whose segments are not there go. Returns the number of erased rows. Raises StorageError,
    and then the copy must not be used.
    """
    storage = restored.storage
    if storage is not None:
        if archive_lost:
            accept_loss(storage)
        else:
            confirm_archive(storage, adopt=True)
    erasures = Erasures(policy.cutoff, restored.archive)
    erased = 0
    if storage is not None:
        erased += _erase_interactions(storage, erasures)
        _correct_stubs(storage, policy)
        if archive_lost:
            _drop_stubs_of_lost(storage)
        storage.database.scrub()
    if restored.alias is not None:
        for user_id in sorted(accounts.possible_users(restored.alias)):
            until = erasures.erased(user_id)
            if until is not None:
                forgotten = accounts.forget_user(user_id, restored.alias, until)
                erased += sum(forgotten.values())
    return erased


def _erase_interactions(storage: Storage, erasures: Erasures) -> int:
    erased_at: dict[str, datetime | None] = {}
    erased = 0
    for page in _hot_pages(storage):
        users = {row.user_id for row in page}
        for user_id in users - erased_at.keys():
            erased_at[user_id] = erasures.erased(user_id)
            if erased_at[user_id] is not None:
                storage.forget_user(user_id)
        for user_id in users:
            until = erased_at[user_id]
            if until is None:
                continue
            gone = [row for row in page if row.user_id == user_id and row.created_at <= until]
            if gone:
                erased += storage.erase_hot(gone, user_id)
    return erased


def _hot_pages(storage: Storage) -> Iterator[list[ChatInteraction]]:
    after = None
    while page := storage.oldest(LATEST, ROWS_AT_ONCE, after):
        after = page[-1].position
        yield page


def _drop_stubs_of_lost(storage: Storage) -> None:
    """Drop what stubs there are still that name a segment which is not there."""
    segments = set(storage.archive.all_segments())
    for stubs in batched(storage.database.all_stubs(), ROWS_AT_ONCE):
        lost = [stub for stub in stubs if stub.segment not in segments]
        for segment, stubs_of_it in by_segment(lost).items():
            storage.database.drop_stubs([stub.interaction_id for stub in stubs_of_it], segment)


def _correct_stubs(storage: Storage, policy: Policy) -> None:
    """Let the stubs name the segments that have the rows.

    Marked segments are left alone: only their stubs tell which of their rows count.
    """
    archive = storage.archive
    segments = set(archive.all_segments())
    interrupted = set(archive.marked())
    storage.database.drop_other_stubs(interrupted)
    for segment in sorted(segments - interrupted):
        for rows in batched(archive.rows(segment), ROWS_AT_ONCE):
            unexpired = [row for row in rows if row.created_at > policy.cutoff]
            if not _adopt(storage, unexpired, segment, segments):
                archive.mark(segment)


def _adopt(storage: Storage, rows: list[ChatInteraction], segment: str, segments: set[str]) -> bool:
    """Make stubs for rows of a segment that have none. Returns whether all rows have one then."""
    stubs = storage.database.stubs([row.interaction_id for row in rows])
    all_adopted = True
    for row in rows:
        stub = stubs.get(row.interaction_id)
        if stub is None or stub.segment not in segments:
            all_adopted &= storage.database.adopt(row, segment, stub and stub.segment)
        else:
            all_adopted &= stub.segment == segment
    return all_adopted
