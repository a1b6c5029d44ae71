"""Erasing users from every layer, in two steps that the receipt names with their times.

First everything of a user is removed (see `attempt`). Then nobody can read anything of the user,
and there is a receipt.

Deleted rows may leave bytes in the files of the database. Reading these takes as long as the
database is large, so that is the second step (see `scrubbing`), for all users of a run at once. It
completes the receipts. Every step can be repeated, so one that was interrupted is simply done
again.
"""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from chat.maintenance.compaction import Compaction
from chat.maintenance.erasure import ledger, scrubbing
from chat.maintenance.erasure.attempt import Attempt, in_one_line, refuse_held, user_of
from chat.maintenance.erasure.ledger import Erasure
from chat.maintenance.erasure.removal import hot_pages
from chat.maintenance.holds import Holds
from chat.maintenance.identity import confirm_archive
from chat.maintenance.policy import Policy
from chat.maintenance.runs import LockHeld, LockLost, OutOfTime, Run
from storage import accounts
from storage.exceptions import StorageError
from storage.interface import Storage
from storage.large.objects import LargeObjects, is_object

logger = logging.getLogger(__name__)

USERS_AT_ONCE = 200
"""Users of whom sweeps look for something together. Then they get their receipts. After an attempt
that no time was left for, half as many: sooner or later some are gone within a run.
"""

SCRUBBED_AT_ONCE_SECONDS = 2.0
"""A database is small if all of it can be scrubbed in this time: up to 200 MB. Then the command or
request that erases a user does it, and no later run has to.
"""


@dataclass
class Erased:
    """What a run has erased."""

    counts: Counter[str] = field(default_factory=Counter)
    """Rows by layer."""
    looks: int = 0
    """Sweeps, of each user."""
    erasures: list[dict[str, Any]] = field(default_factory=list)
    """Those that are removed or done, as they may be shown."""
    unscrubbed: int = 0
    """Erasures of users of whom nobody can read anything, while bytes may be left in the files."""
    remaining: int = 0
    """Erasures of users of whom something may be left that can be read."""

    def show(self, erasure: Erasure) -> None:
        """Put an erasure among those that are shown, in place of an earlier state of it."""
        record = erasure.as_record()
        others = [each for each in self.erasures if each["erasure_id"] != erasure.erasure_id]
        self.erasures = [*others, record]


def request(storage: Storage, user_id: str, requested_by: str) -> Erasure:
    """Record that a user is to be erased, and who asked.

    Returns the pending erasure, if there is one already.

    From then on the request outlives this process, and `Job.erase_pending` does what is left.
    Raises UserHeld, and ArchiveMismatch.
    """
    refuse(storage, user_id)
    return ledger.request(storage.archive, user_id, requested_by)


def refuse(storage: Storage, user_id: str) -> None:
    """Raises UserHeld, or ArchiveMismatch, if an erasure of this user would not be begun now."""
    confirm_archive(storage)
    refuse_held(storage, user_id, Holds.that_may_concern(storage.archive, user_id))


def begin(storage: Storage, erasure: Erasure, seconds: float) -> Erasure:
    """The erasure after one attempt, within the time of a request. Cron repeats what fails."""
    try:
        with Run(storage, max_seconds=seconds) as run:
            return Job(storage, Policy.at(run.now), run, Erased()).attempt(erasure)
    except (LockHeld, OutOfTime):
        pass
    except StorageError as error:
        logger.error("The erasure %s is pending: %s", erasure.erasure_id, error)
    return ledger.find(storage.archive, erasure.erasure_id) or erasure


def pending(storage: Storage) -> list[str]:
    """The users of pending erasures."""
    erasures = ledger.pending(storage.archive)
    return [erasure.user_id for erasure in erasures if erasure.user_id is not None]


def count(storage: Storage, users: Sequence[str]) -> Counter[str]:
    """What an erasure would find: rows, hot and cold, and what is in SQL. Raises UserHeld."""
    holds = Holds.of(storage.archive)
    found: Counter[str] = Counter()
    for user_id in users:
        refuse_held(storage, user_id, holds)
        for rows in hot_pages(storage, user_id):
            found["hot"] += len(rows)
        found.update(accounts.count_user(user_id))
    for segment, possible in storage.archive.segments_of(users):
        found["cold"] += sum(map(len, storage.archive.ids_of(segment, possible).values()))
    objects = LargeObjects(storage.archive.files).of_users(users)
    found["large_texts"] = sum(is_object(entry) for _, entry in objects)
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
        refuse_held(self.storage, user_id, self._compaction.holds)
        return self.attempt(ledger.request(self.storage.archive, user_id, requested_by))

    def attempt(self, erasure: Erasure) -> Erasure:
        """Erase the user of a pending erasure. Returns it with its receipt.

        If the database is large, or something keeps its files from being scrubbed now, it is not
        done, and `erase_pending` scrubs them later. Raises UserHeld, UserActive and whatever keeps
        a layer from confirming. The erasure is then still pending, and says why.
        """
        current = ledger.take_up(self.storage.archive, erasure.erasure_id)
        if current is None:  # another run has gone on with it meanwhile
            return ledger.find(self.storage.archive, erasure.erasure_id) or erasure
        attempt = self._remove([current])
        for error in attempt.failed.values():
            raise error
        (removed,) = attempt.removed
        try:
            seconds = self.storage.database.scrub_seconds()
            self.run.require(seconds)
            if seconds <= SCRUBBED_AT_ONCE_SECONDS:
                (removed,) = self._scrub(attempt.removed)
        except OutOfTime:
            pass
        except StorageError as error:
            logger.warning("The erasure %s is not scrubbed yet: %s", erasure.erasure_id, error)
        return removed

    def erase_pending(self) -> list[str]:
        """Go on with all erasures that are not done. Returns a line for each problem.

        An erasure that fails does not keep others from being done. When the time is up, users of
        whom nothing is left still get their receipts; then raises OutOfTime, unless there are lines
        to return.
        """
        archive = self.storage.archive
        erasure_ids = ledger.pending_ids(archive)
        self.report.remaining = len(erasure_ids)
        self.report.unscrubbed = ledger.count_to_scrub(archive)
        problems: list[str] = []
        try:
            left = self._taken_up(erasure_ids, problems)
            while some := _attempted_together(left):
                self.run.step()
                attempt = self._remove(some)
                problems += [
                    f"Erasure {each.erasure_id}: {in_one_line(attempt.failed[user_of(each)])}"
                    for each in attempt.erasures
                    if user_of(each) in attempt.failed
                ]
            ledger.tidy(archive)
            self._scrub_all(problems)
        except LockLost:
            raise
        except OutOfTime:
            if not problems:
                raise
        return problems

    def _taken_up(self, erasure_ids: Iterable[str], problems: list[str]) -> Iterator[Erasure]:
        for erasure_id in erasure_ids:
            try:
                erasure = ledger.take_up(self.storage.archive, erasure_id)
            except StorageError as error:  # its document is damaged
                problems.append(f"Erasure {erasure_id}: {in_one_line(error)}")
            else:
                if erasure is None:
                    self.report.remaining -= 1
                else:
                    yield erasure

    def _scrub_all(self, problems: list[str]) -> None:
        waiting = list(ledger.to_scrub(self.storage.archive))
        self.report.unscrubbed = len(waiting)
        try:
            self._scrub(waiting)
        except (LockLost, OutOfTime):
            raise
        except StorageError as error:
            problems.append(f"Not scrubbed ({len(waiting)}): {in_one_line(error)}")

    def _scrub(self, waiting: list[Erasure]) -> list[Erasure]:
        """Leave no bytes in the files of the databases either, and complete the receipts."""
        done = []
        for erasure in scrubbing.scrub(self.storage, waiting, self.run.step):
            self.report.unscrubbed -= 1
            self.report.show(erasure)
            done.append(erasure)
        return done

    def _remove(self, erasures: list[Erasure]) -> Attempt:
        attempt = Attempt(self.storage, self.run, erasures)
        try:
            attempt.remove(lambda: self._compaction)
        finally:
            self.report.counts += sum(attempt.found.values(), Counter())
            self.report.looks += attempt.sweeps
            self.report.remaining -= len(attempt.removed)
            self.report.unscrubbed += len(attempt.removed)
            for erasure in attempt.removed:
                self.report.show(erasure)
        return attempt


def _attempted_together(left: Iterator[Erasure]) -> list[Erasure]:
    """The next of some erasures, as many as are to be attempted together."""
    some: list[Erasure] = []
    at_once = USERS_AT_ONCE
    while len(some) < at_once and (erasure := next(left, None)):
        some.append(erasure)
        if erasure.problem is None:  # else it was not the time that was missing
            at_once = min(at_once, USERS_AT_ONCE >> erasure.attempts)
    return some
