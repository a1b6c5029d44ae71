"""The second step of erasures: no byte of what was removed is left in the databases' files."""

from collections.abc import Callable, Collection, Iterator

from chat.maintenance.erasure import ledger, receipts
from chat.maintenance.erasure.ledger import Erasure
from storage import accounts
from storage.interface import Storage


def scrub(
    storage: Storage, removed: Collection[Erasure], check_time: Callable[[], None]
) -> Iterator[Erasure]:
    """Scrub the files, and complete the receipts of erasures. Yields these as they are done.

    What an earlier run has begun is completed first, if that is enough for some of them. Raises
    what `check_time` raises, and what keeps the files from being scrubbed; the next call goes on.
    """
    waiting = sorted(removed, key=lambda erasure: erasure.ended_at)
    since = waiting[0].ended_at if waiting else None
    while waiting:
        until = storage.database.scrub(since, check_time)
        if not storage.database.holds_accounts:
            accounts.scrub(check_time=check_time)
        for erasure in [each for each in waiting if each.ended_at <= until]:
            assert erasure.receipt is not None  # it is removed
            yield ledger.finish(storage.archive, erasure, receipts.of_scrubbed(erasure.receipt))
            waiting.remove(erasure)
        since = waiting[-1].ended_at if waiting else None  # then all of them are done
