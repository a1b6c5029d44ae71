"""Bringing a restored database up to date with the ledger and the archive, before it is used.

The copy still has users who were erased since the backup. The ledger of erasures in the archive
knows them by keyed hashes only, so every user of the copy is looked up in it.

The archive has changed as well: `chat.maintenance.stub_correction` makes the stubs agree with it.
"""

from dataclasses import replace
from datetime import UTC, datetime

from chat.maintenance.erasure.known import Erasures
from chat.maintenance.erasure.removal import hot_pages
from chat.maintenance.identity import accept_loss, confirm_archive
from chat.maintenance.policy import Policy
from chat.maintenance.put_back import count_archived, put_back
from chat.maintenance.stub_correction import correct_stubs
from storage import accounts
from storage.accounts import roll_ups
from storage.backups.base import RestoredDatabase, RestoreReport
from storage.interface import Storage


def bring_up_to_date(
    restored: RestoredDatabase,
    policy: Policy,
    report: RestoreReport | None = None,
    *,
    archive_lost: bool = False,
) -> int:
    """Erase again whoever was erased since the backup, put large texts back, correct the stubs.

    With `archive_lost` an empty archive takes the place of the one that the copy remembers, and
    stubs whose segments are not there go. Counts large texts in `report`, and returns the number of
    erased rows. Raises StorageError, and then the copy must not be used. The copy is for the
    present: what will have expired as of a later time counts as what it is.
    """
    policy = replace(policy, now=min(policy.now, datetime.now(UTC)))
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
        report = report or RestoreReport()
        deleted = put_back(restored, report)
        correct_stubs(storage, policy, restored.segments, archive_lost=archive_lost)
        count_archived(storage, deleted, report)
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
        if erasures.erased(user_id) is None:
            continue
        storage.forget_user(user_id)
        for rows in hot_pages(storage, user_id):
            gone = [row for row in rows if erasures.cover(row)]
            erased += storage.erase_hot(gone, user_id) if gone else 0
    return erased
