"""Erasing a user from every layer. A receipt is written only when all layers have confirmed.

Sweeps (see `removal`) are repeated until one finds nothing, because an index may lag and the user
may still be chatting; the first sweep is never the last. Every step can be repeated, so an erasure
that was interrupted is simply done again.

Deleted rows may leave bytes in the files of the database. Removing these takes as long as the
database is large, so a run does it once for all its users, and writes the receipts afterwards.
"""

import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from chat.maintenance.compaction import Compaction
from chat.maintenance.erasure import ledger
from chat.maintenance.erasure.ledger import Erasure
from chat.maintenance.erasure.removal import Removal, cold_ids, has_any_of, hot_pages
from chat.maintenance.holds import Holds
from chat.maintenance.identity import confirm_archive
from chat.maintenance.policy import Policy
from chat.maintenance.runs import LockLost, OutOfTime, Run
from storage import accounts
from storage.backups import selection as backups
from storage.backups.base import Copy
from storage.exceptions import StorageError
from storage.interface import Storage
from storage.records.json import format_time

SWEEPS = 5
"""Sweeps that may find something. If there is still something after them, the user is chatting."""


class UserHeld(StorageError):
    """The user, or a day with interactions of the user's, is under a legal hold. Lift it first."""


class UserActive(StorageError):
    """Every sweep found something new."""

    def __init__(self) -> None:
        super().__init__(
            "Interactions of the user keep coming in. Stop that, and erase the user again."
        )


@dataclass
class Erased:
    """What a run has erased."""

    counts: Counter[str] = field(default_factory=Counter)
    """Rows by layer."""
    looks: int = 0
    """Sweeps."""
    erasures: list[dict[str, Any]] = field(default_factory=list)
    """Those that are done, as they may be shown."""
    remaining: int = 0


@dataclass(frozen=True)
class _Gone:
    """An erasure whose last sweep has found nothing."""

    erasure: Erasure
    sweeps: int
    swept_at: datetime
    """When the last sweep began."""


def request(storage: Storage, user_id: str, requested_by: str) -> Erasure:
    """Record that a user is to be erased, and who asked.

    Returns the pending erasure, if there is one already.

    From then on the request outlives this process, and `Job.erase_pending` does what is left.
    Raises UserHeld, and ArchiveMismatch.
    """
    confirm_archive(storage)
    _refuse_held(storage, user_id, Holds.of(storage.archive))
    return ledger.request(storage.archive, user_id, requested_by)


def pending(storage: Storage) -> list[str]:
    """The users of pending erasures."""
    erasures = ledger.pending(storage.archive)
    return [erasure.user_id for erasure in erasures if erasure.user_id is not None]


def count(storage: Storage, user_id: str) -> Counter[str]:
    """What an erasure would find: rows, hot and cold, and what is in SQL. Raises UserHeld."""
    _refuse_held(storage, user_id, Holds.of(storage.archive))
    found: Counter[str] = Counter()
    for rows in hot_pages(storage, user_id):
        found["hot"] += len(rows)
    for ids in cold_ids(storage.archive, user_id):
        found["cold"] += len(ids)
    found.update(accounts.count_user(user_id))
    return +found


@dataclass
class Job:
    """Erasures within one run, which has confirmed the archive. Counts in `report` as it goes."""

    storage: Storage
    policy: Policy
    run: Run
    report: Erased

    @cached_property
    def _compaction(self) -> Compaction:
        """With all legal holds, read once a run: `legal_hold add` waits for earlier runs to end."""
        holds = Holds.of(self.storage.archive)
        return Compaction(self.storage, holds, self.policy.cutoff, check_time=self.run.check_time)

    def erase(self, user_id: str, requested_by: str) -> Erasure:
        """Record that a user is to be erased, and do it. Returns and raises as `attempt` does."""
        _refuse_held(self.storage, user_id, self._compaction.holds)
        return self.attempt(ledger.request(self.storage.archive, user_id, requested_by))

    def attempt(self, erasure: Erasure) -> Erasure:
        """Erase the user of a pending erasure. Returns it with its receipt.

        Raises UserHeld, UserActive and whatever keeps a layer from confirming. The erasure is then
        still pending, and says why.
        """
        current = ledger.take_up(self.storage.archive, erasure.erasure_id)
        if current is None:  # another run has done it meanwhile
            return ledger.find(self.storage.archive, erasure.erasure_id) or erasure
        gone = self._remove(current)
        self.run.require(self.storage.database.scrub_seconds())
        return self._finish([gone])[0]

    def erase_pending(self) -> list[str]:
        """Erase all users of pending erasures. Returns a line for each that failed.

        One that fails does not keep others from being done. When the time is up, users of whom
        nothing is left still get their receipts; then raises OutOfTime, unless there are lines to
        return.
        """
        report = self.report
        problems: list[str] = []
        gone: list[_Gone] = []
        erasure_ids = ledger.pending_ids(self.storage.archive)
        report.remaining = len(erasure_ids)
        stopped: OutOfTime | None = None
        for erasure_id in erasure_ids:
            try:
                self.run.step(len(gone))
                erasure = ledger.take_up(self.storage.archive, erasure_id)
                if erasure is None:
                    report.remaining -= 1
                else:
                    gone.append(self._remove(erasure))
            except LockLost:
                raise
            except OutOfTime as error:
                stopped = error
                break
            except StorageError as error:
                problems.append(f"Erasure {erasure_id}: {_in_one_line(error)}")
        if gone:
            report.remaining -= len(self._finish(gone))
        ledger.tidy(self.storage.archive)
        if stopped is not None and not problems:
            raise stopped
        return problems

    def _remove(self, erasure: Erasure) -> _Gone:
        """Sweep until nothing is found. The document of the erasure says how far it came."""
        erasure = replace(erasure, attempts=erasure.attempts + 1)
        ledger.put(self.storage.archive, erasure)  # so that an attempt that is killed counts
        assert erasure.user_id is not None  # it is pending
        found: Counter[str] = Counter()
        try:
            _refuse_held(self.storage, erasure.user_id, self._compaction.holds)
            # For each user: an earlier one that failed may have left something, too.
            self._compaction.finish_interrupted(self.run)
            sweeps, swept_at = self._sweep_until_gone(erasure.user_id, found)
        except BaseException as error:
            self._keep(_with(erasure, found), error)
            raise
        finally:
            self.report.counts += found
        self.report.looks += sweeps
        erasure = _with(erasure, found)
        if found.total():
            ledger.put(self.storage.archive, erasure)  # the run may be stopped before the receipt
        return _Gone(erasure, sweeps, swept_at)

    def _sweep_until_gone(self, user_id: str, found: Counter[str]) -> tuple[int, datetime]:
        """Returns the number of sweeps, and when the last one began. Raises UserActive."""
        removal = Removal(self.storage, user_id, self.run, self._compaction, found)
        for sweeps in range(1, SWEEPS + 2):
            if sweeps > 1:
                time.sleep(self.storage.database.index_lag_seconds)
            before = found.total()
            swept_at = datetime.now(UTC)
            removal.sweep()
            if sweeps > 1 and found.total() == before:
                return sweeps, swept_at
        raise UserActive

    def _finish(self, gone: list[_Gone]) -> list[Erasure]:
        """Leave no bytes in the files of the databases either, and write the receipts."""
        try:
            self.storage.database.scrub()
            if not self.storage.database.holds_accounts:
                accounts.scrub()
            copies = backups.all_copies()
        except StorageError as error:
            for unfinished in gone:
                self._keep(unfinished.erasure, error)
            raise
        finished = []
        for swept in gone:
            done = ledger.finish(self.storage.archive, swept.erasure, _receipt(swept, copies))
            finished.append(done)
            self.report.erasures.append(done.as_record())
        return finished

    def _keep(self, erasure: Erasure, error: BaseException) -> None:
        """Record what an attempt has erased, and what stopped it."""
        if isinstance(error, StorageError) and not isinstance(error, LockLost | OutOfTime):
            erasure = replace(erasure, problem=_in_one_line(error))
        with suppress(StorageError):  # the archive itself may be what stopped it
            ledger.put(self.storage.archive, erasure)


def _refuse_held(storage: Storage, user_id: str, holds: Holds) -> None:
    """Raises UserHeld if a legal hold forbids erasing this user."""
    if hold := holds.find("user", user_id):
        raise UserHeld(
            f"The user is under a legal hold since {hold.since.date()}; it must be lifted first."
        )
    for day in sorted(holds.days):
        if has_any_of(storage, day, user_id):
            raise UserHeld(
                f"The user has interactions of {day}, a day that is under a legal hold; it must "
                "be lifted first."
            )


def _receipt(gone: _Gone, copies: list[Copy]) -> dict[str, Any]:
    gone_by = max((copy.gone_by for copy in copies), default=None)
    return {
        "erased": gone.erasure.erased,
        "attempts": gone.erasure.attempts,
        "looks": gone.sweeps,
        # Not the present: what was saved since the last sweep, if anything, is still there.
        "finished_at": format_time(gone.swept_at),
        "copies": [{"name": copy.name, "expires_at": format_time(copy.gone_by)} for copy in copies],
        "copies_gone_by": gone_by and format_time(gone_by),
    }


def _with(erasure: Erasure, found: Counter[str]) -> Erasure:
    return replace(erasure, erased=dict(Counter(erasure.erased) + found))


def _in_one_line(error: Exception) -> str:
    return " ".join(str(error).split())
