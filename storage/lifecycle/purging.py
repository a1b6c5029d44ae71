"""Deleting what is older than all its days, from cold and hot storage, for good.

A file that is damaged keeps nothing else from being deleted, but fails the run at its end. It goes
itself, unread, with a day of which all is past its time and nothing is held.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime

from django.db import router

from storage.archive.holds import Holds
from storage.archive.manifests import Manifest
from storage.exceptions import DamagedArchive
from storage.interface import Storage
from storage.lifecycle import space
from storage.lifecycle.compaction import Content, compact, examine, finish_interrupted
from storage.lifecycle.policy import Policy
from storage.lifecycle.runs import Run
from storage.models import IdempotencyRecord
from storage.sql_errors import translated

PAGE = 100
"""Rows read at a time: at most 40 MB."""

COUNTED_AT_MOST = 1_000_000

DATABASE = "default"
"""Django's alias of the SQL database that has the records of idempotency keys, if any has."""


@dataclass
class Purged:
    """What a run of purge_interactions has done; of a dry run, what it would do."""

    finished: int = 0
    """Segments that an interrupted run or a deletion had left to be finished."""
    cold: int = 0
    """Interactions deleted from the archive."""
    segments: int = 0
    """Segments deleted whole."""
    unnamed: int = 0
    """Segments deleted of which something was damaged or lost, so that nobody knows their rows."""
    hot: int = 0
    """Interactions deleted that were hot still."""
    held: int = 0
    """Interactions that would have been deleted, but are under a legal hold."""
    stubs: int = 0
    idempotency_records: int = 0
    reclaimed_bytes: int = 0
    """Given back to the file system by the database."""
    unreclaimed_bytes: int = 0
    """Free in the file of a database that was made without auto_vacuum: VACUUM gives them back."""
    remaining: int = 0
    """Interactions that are due still, about; while there are very many hot ones, some of them."""


def purge(storage: Storage, policy: Policy, run: Run, report: Purged) -> None:
    """Delete what was created at or before `policy.gone_until`. Counts as it goes in `report`.

    Raises DamagedArchive only when all else is done.
    """
    holds = Holds.of(storage.archive)
    damage: list[DamagedArchive] = []
    _Purge(storage, policy.gone_until, holds, run, report, damage).do()
    if damage:
        raise damage[0]


@dataclass
class _Purge:
    storage: Storage
    gone_until: datetime
    holds: Holds
    run: Run
    report: Purged
    damage: list[DamagedArchive]

    def do(self) -> None:
        """All of it, in the order in which it is counted."""
        marked = set(self.storage.archive.marked())
        if self.run.dry_run:
            self.report.finished = len(marked)
        else:
            with self._going_on():
                self.report.finished = finish_interrupted(self.storage, self.run, self.gone_until)
        self._cold(marked)
        self._hot()
        self._records()
        if self.run.dry_run:
            self.report.remaining = self.report.cold + self.report.hot
            return
        while stubs := self.storage.remove_expired_stubs_sync(self.gone_until, self.run.batch_size):
            self.report.stubs += stubs
            self._step()
        self.storage.archive.tidy()
        self.report.reclaimed_bytes = self.storage.reclaim_sync()
        self.report.unreclaimed_bytes = space.kept_free(self.storage)
        self.report.remaining = 0

    @contextmanager
    def _going_on(self) -> Iterator[None]:
        try:
            yield
        except DamagedArchive as error:
            self.damage.append(error)

    def _step(self) -> None:
        self.run.step(self.report.cold + self.report.hot)
