"""Bringing a restored database up to date with the ledger and the archive, before it is used.

The copy still has users who were erased since the backup. The ledger of erasures in the archive
knows them by keyed hashes only, so every user of the copy is looked up in it.

The archive has changed as well: a row that was hot is in a segment now, or a stub names a segment
that was rewritten, restored or purged. The segments say where each archived row is, and the stubs
are corrected. A row that is hot in the copy stays hot; its segment is marked for compaction.
Segments that are the same as at the time of the backup are not read: their stubs are right.
"""

from collections.abc import Iterator, Mapping

from chat.maintenance.erasure.known import Erasures
from chat.maintenance.erasure.removal import hot_pages
from chat.maintenance.identity import accept_loss, confirm_archive
from chat.maintenance.policy import Policy
from storage import accounts
from storage.accounts import roll_ups
from storage.archive import generations
from storage.backups.base import RestoredDatabase
from storage.compat import batched
from storage.interface import Storage
from storage.models import ChatInteraction
from storage.records.stubs import by_segment

ROWS_AT_ONCE = 500
"""Rows in one transaction."""


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
        if erasures.any:
            erased += _erase_interactions(storage, erasures)
        _correct_stubs(storage, policy, restored.segments)
        if archive_lost:
            _drop_stubs_of_lost(storage)
    if restored.alias is not None:
        erased += _erase_accounts(restored.alias, erasures)
        if storage is not None:  # what the archive has got since is not counted
            roll_ups.require_rebuild(restored.alias)
    if erasures.any:
        _scrub(restored)
    return erased


def _erase_accounts(alias: str, erasures: Erasures) -> int:
    erased = 0
    for user_id in sorted(accounts.possible_users(alias)):
        until = erasures.erased(user_id)
        if until is not None:
            erased += sum(accounts.forget_user(user_id, alias, until).values())
    return erased


def _scrub(restored: RestoredDatabase) -> None:
    """Last, as it is for all that was erased, stubs and API keys included.

    It is needed if nothing was erased now, too: the backup may be older than an earlier scrub.
    """
    if restored.storage is not None:
        restored.storage.database.scrub()
    elif restored.alias is not None:
        accounts.scrub(restored.alias)


def _erase_interactions(storage: Storage, erasures: Erasures) -> int:
    erased = 0
    for user_id in set(storage.database.users()):
        until = erasures.erased(user_id)
        if until is None:
            continue
        storage.forget_user(user_id)
        for rows in hot_pages(storage, user_id):
            gone = [row for row in rows if row.created_at <= until]
            erased += storage.erase_hot(gone, user_id) if gone else 0
    return erased


def _drop_stubs_of_lost(storage: Storage) -> None:
    """Drop what stubs there are still that name a segment which is not there."""
    segments = set(storage.archive.all_segments())
    for stubs in batched(storage.database.all_stubs(), ROWS_AT_ONCE):
        lost = [stub for stub in stubs if stub.segment not in segments]
        for segment, stubs_of_it in by_segment(lost).items():
            storage.database.drop_stubs([stub.interaction_id for stub in stubs_of_it], segment)


def _correct_stubs(storage: Storage, policy: Policy, before: Mapping[str, str]) -> None:
    """Let the stubs name the segments that have the rows. `before` is what the archive had then.

    Marked segments are left alone: only their stubs tell which of their rows count.
    """
    archive = storage.archive
    same = before.items() & generations.complete(archive).items()
    segments = set(archive.all_segments())
    left_alone = {segment for segment, _ in same} & segments | archive.marked().keys()
    storage.database.drop_other_stubs(left_alone)
    for segment in sorted(segments - left_alone):
        rows = _unexpired(archive.rows(segment), policy)
        adopted = [
            storage.database.adopt(part, segment, segments) for part in batched(rows, ROWS_AT_ONCE)
        ]
        if not all(adopted):
            archive.mark(segment)


def _unexpired(rows: Iterator[ChatInteraction], policy: Policy) -> Iterator[ChatInteraction]:
    for row in rows:
        if row.created_at > policy.cutoff:
            row.message = row.response = ""  # a stub needs none, and many rows are in memory
            yield row
