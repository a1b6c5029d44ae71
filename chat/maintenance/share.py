"""Whether a purge would delete more than is to be expected.

The clock may be right and the retention wrong: RETENTION_TOTAL_DAYS=9 in place of 90. So a purge of
more than a share of all interactions is refused, unless an operator confirms it.

What has come due since the last purge does not count, if that was at most two days ago: it is the
work of a night, and a store that is used no more loses its last rows like this, in whatever share.
"""

import math
from collections.abc import Iterator
from datetime import date, datetime

from django.conf import settings

from chat.maintenance.clock import CREDIBLE
from chat.maintenance.holds import Holds
from chat.maintenance.policy import LATEST, Policy
from storage.archive.archive import Archive
from storage.archive.manifests import Manifest
from storage.exceptions import DamagedArchive, StorageError
from storage.interface import Storage
from storage.records.pages import never

PAGE = 100
"""Rows read at a time: at most 40 MB."""

ALL = 1_000_000_000


class TooManyDue(StorageError):
    """A purge would delete more than PURGE_MAX_PERCENT of all interactions."""

    def __init__(self, due: int, total: int, days: int) -> None:
        super().__init__(
            f"Nothing was done: this would delete {due} of {total} interactions, which is more "
            f"than PURGE_MAX_PERCENT={settings.PURGE_MAX_PERCENT}. Check the clock, and "
            f"RETENTION_TOTAL_DAYS={days}. If it is right, as after a pause or for data that was "
            "imported, run it once with --yes; --dry-run --yes shows what it would do."
        )


def check(storage: Storage, policy: Policy) -> None:
    """Raise TooManyDue if a purge would delete too large a share.

    The cost grows with what is due: the rest is counted only until it is enough.
    """
    until = _expected_until(storage, policy)
    holds = Holds.of(storage.archive)
    hot = storage.database.count_oldest(until, ALL)
    due = (_unheld(storage, until, holds) if holds.all else hot) + sum(
        manifest.count_until(until)
        for manifest in _manifests(storage.archive, first=date.min, last=until.date())
        if not holds.may_hold(manifest)
    )
    if not due:
        return
    share = settings.PURGE_MAX_PERCENT
    enough = math.ceil(due * (100 - share) / share)
    others = max(storage.database.count_oldest(LATEST, hot + enough) - hot, 0)
    for manifest in _manifests(storage.archive, first=until.date(), last=date.max):
        if others >= enough:
            return
        others += manifest.count - manifest.count_until(until)
    if others < enough:
        raise TooManyDue(due, due + others, policy.total_days)


def _expected_until(storage: Storage, policy: Policy) -> datetime:
    """What was created until then should have been deleted by earlier purges."""
    last = storage.database.last_runs().get("purge_interactions")
    if last is None or not last <= policy.now <= last + CREDIBLE:
        return policy.cutoff
    return Policy(last, policy.hot_days, policy.total_days).cutoff


def _unheld(storage: Storage, until: datetime, holds: Holds) -> int:
    count, after = 0, None
    while page := storage.oldest(until, PAGE, after, never):
        count += sum(not holds.holds(row) for row in page)
        after = page[-1].position
    return count


def _manifests(archive: Archive, first: date, last: date) -> Iterator[Manifest]:
    """The manifests of these days that can be read, newest day first."""
    for day in reversed(archive.days()):
        if not first <= day <= last:
            continue
        for segment in archive.segments(day):
            try:
                manifest = archive.manifest(segment)
            except DamagedArchive:
                continue
            if manifest is not None:
                yield manifest
