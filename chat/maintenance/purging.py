"""Deleting what is past the retention cutoff, from cold and hot storage, for good.

A damaged file keeps nothing else from being deleted, but the run fails at its end. The file itself
is deleted unread once all of its day is past the cutoff, if nothing can be under a legal hold.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from itertools import groupby
from typing import Any

from django.conf import settings

from chat.maintenance.compaction import Compaction, SegmentCounts
from chat.maintenance.damage import Damage
from chat.maintenance.holds import FOLDER, Holds, note_lost_stubs
from chat.maintenance.large import remove_leftovers
from chat.maintenance.policy import Policy
from chat.maintenance.runs import Run
from storage import expiry
from storage.accounts import audit_log, intake, key_use, roll_ups
from storage.archive import names
from storage.compat import batched
from storage.exceptions import DamagedArchive
from storage.interface import Storage
from storage.records.pages import never

PAGE = 100
"""Rows read at a time: at most 13 MB without their large texts."""

COUNTED_AT_MOST = 1_000_000

RECORDS_AT_ONCE = 500

SEGMENTS_AT_ONCE = 100
"""Segments that are removed at once, with one list of the files of their day."""


@dataclass
class Purged:
    """What a run of purge_interactions has done; of a dry run, what it would do."""

    finished: int = 0
    """Segments that an interrupted run or a deletion had left to be completed."""
    cold: int = 0
    """Interactions deleted from the archive."""
    segments: int = 0
    """Segments deleted as a whole."""
    unreadable: int = 0
    """Segments deleted whose manifest was lost, or damaged where only it tells the number of rows
    (earlier versions). Their rows are in no count.
    """
    hot: int = 0
    """Interactions deleted from the database."""
    held: int = 0
    """Interactions that would have been deleted, but are under a legal hold."""
    large_texts: int = 0
    """Objects with large texts that no row named, deleted from the archive."""
    archive_is_shared: bool = False
    """Whether another database uses the archive, so that none of these were looked for."""
    stubs: int = 0
    idempotency_records: int = 0
    intake_counts: int = 0
    """Numbers of the admin's page Intake that are older than it shows."""
    api_key_uses: int = 0
    """Days of API keys that are older than 90 days."""
    audit_entries: int = 0
    """Entries of the audit log that are past AUDIT_KEEP_DAYS."""
    reclaimed_bytes: int = 0
    """Bytes that the database has returned to the file system."""
    unreclaimed_bytes: int = 0
    """Free bytes of a database that was made without auto_vacuum: only VACUUM would return them."""
    remaining: int = 0
    """About how many interactions are still due. At most a million hot ones are counted."""


def purge(storage: Storage, policy: Policy, run: Run, report: Purged) -> None:
    """Delete what was created at or before `policy.cutoff`. Counts in `report` as it goes.

    DamagedArchive is raised only when everything else is done.
    """
    with Damage() as damage:
        holds = Holds.of(storage.archive)
        if holds.all and not run.dry_run:
            with damage.passed_over():
                note_lost_stubs(storage.archive, policy)
        _Purge(storage, policy.cutoff, holds, run, report, damage).do()


def is_due(storage: Storage, policy: Policy) -> bool:
    """Whether anything may be past the cutoff. Rows under a legal hold count."""
    days = storage.archive.days()
    return bool(
        storage.oldest(policy.cutoff, 1, None, never) or (days and days[0] <= policy.cutoff.date())
    )


@dataclass
class _Purge:
    storage: Storage
    cutoff: datetime
    holds: Holds
    run: Run
    report: Purged
    damage: Damage
    whole: dict[str, int] = field(default_factory=dict)
    """How many rows there are in the segments that go as a whole."""
    partly: dict[str, int] = field(default_factory=dict)
    """Expired rows in the segments that are rewritten; an estimate for those of an old format."""
    unreadable: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.archive = self.storage.archive
        self.compaction = Compaction(
            self.storage, self.holds, self.cutoff, purges=True, check_time=self.run.check_time
        )

    def do(self) -> None:
        """Purge the archive, then the database, and then what belongs to them."""
        with self.damage.passed_over():
            self.report.finished = self.compaction.finish_interrupted(self.run)
        # What a real run completes at its beginning, a dry run must leave out of its counts.
        marked = set(self.archive.marked()) if self.run.dry_run else set()
        for day in self.archive.days():
            if day <= self.cutoff.date():
                self._examine_day(day, marked)
        hot = self.storage.database.count_oldest(self.cutoff, COUNTED_AT_MOST)
        self.report.remaining = sum(self.whole.values()) + sum(self.partly.values()) + hot
        for segments in _of_one_day(self.whole):
            self._step()
            self._purge_whole(segments, marked)
        for segment in self.partly:
            self._step()
            with self.damage.passed_over():
                self._purge_partly(segment, marked)
        self._purge_unreadable()
        self._purge_hot()
        self._purge_large()
        self._purge_records()
        if self.run.dry_run:
            self.report.remaining = self.report.cold + self.report.hot
        else:
            self._end()

    def _examine_day(self, day: date, marked: set[str]) -> None:
        found, lost = self.archive.listed(day)
        is_unheld = day not in self.holds.days and not self.holds.users
        nothing_stays = is_unheld and day < self.cutoff.date()
        for each in found:
            self.run.check_time()
            if nothing_stays and each.head is not None:
                self.whole[each.segment] = each.head.count
                continue
            try:
                manifest = self.archive.manifest(each.segment)
            except DamagedArchive as error:
                lost.append(each.segment)
                if not nothing_stays:
                    self.damage.found.append(error)
                continue
            if manifest is not None and manifest.oldest <= self.cutoff:
                is_whole = manifest.newest <= self.cutoff and not self.holds.may_hold(manifest)
                due = self.whole if is_whole else self.partly
                due[each.segment] = manifest.count_until(self.cutoff)
        if nothing_stays:
            self.unreadable += sorted(set(lost) - marked)

    def _purge_whole(self, segments: Sequence[str], marked: set[str]) -> None:
        if not self.run.dry_run:
            markers = self.archive.mark_all(segments)
            self.archive.remove_all(segments)
            self.archive.unmark(markers)
        for segment in segments:
            self._count(segment, SegmentCounts(kept=0, dropped=self.whole[segment], held=0), marked)
            self.report.remaining = max(self.report.remaining - self.whole[segment], 0)

    def _purge_partly(self, segment: str, marked: set[str]) -> None:
        counts = self.compaction.examine(segment) if self.run.dry_run else self._compacted(segment)
        self._count(segment, counts, marked)
        self.report.remaining = max(self.report.remaining - self.partly[segment], 0)

    def _compacted(self, segment: str) -> SegmentCounts:
        marker = self.archive.mark(segment)
        try:
            counts = self.compaction.compact(segment)
        except DamagedArchive:
            self.archive.unmark([marker])  # nothing of it was changed
            raise
        self.archive.unmark([marker])
        return counts

    def _count(self, segment: str, counts: SegmentCounts, marked: set[str]) -> None:
        self.report.held += counts.held
        if segment not in marked:  # completing a marked one would drop the rest
            self.report.cold += counts.dropped
            self.report.segments += not counts.kept

    def _purge_unreadable(self) -> None:
        for segments in _of_one_day(self.unreadable):
            self._step()
            if not self.run.dry_run:
                self.archive.remove_all(segments)
            self.report.unreadable += len(segments)

    def _purge_hot(self) -> None:
        report, after = self.report, None
        limit = min(PAGE, self.run.batch_size)
        while page := self.storage.oldest(self.cutoff, limit, after, never):
            self._step()
            after = page[-1].position
            unheld = [row for row in page if not self.holds.holds(row)]
            report.held += len(page) - len(unheld)
            report.hot += (
                len(unheld)
                if self.run.dry_run
                else self.storage.database.remove_expired(unheld, self.cutoff)
            )
            report.remaining = max(report.remaining - len(page), 0)

    def _purge_large(self) -> None:
        def removed(count: int) -> None:
            self.report.large_texts += count

        swept = remove_leftovers(self.storage, self.holds, self.run, self.damage, removed)
        self.report.archive_is_shared = not swept

    def _purge_records(self) -> None:
        """Idempotency keys that have expired, and what is old in the SQL database."""
        database, now = self.storage.database, self.run.now
        if self.run.dry_run:
            self.report.idempotency_records = database.count_expired_idempotency_keys(now)
            for name, kind, until in self._old_records():
                setattr(self.report, name, kind.count_old(until))
            return
        while removed := database.remove_expired_idempotency_keys(now, RECORDS_AT_ONCE):
            self.report.idempotency_records += removed
            self._step()
        for name, kind, until in self._old_records():
            while removed := kind.remove(until, RECORDS_AT_ONCE):
                setattr(self.report, name, getattr(self.report, name) + removed)
                self._step()
        self._purge_usage()

    def _old_records(self) -> Iterator[tuple[str, Any, datetime]]:
        """The name of a count, the module that removes such records, and how old they get."""
        now = self.run.now
        yield "intake_counts", intake, now - intake.KEPT_FOR
        yield "api_key_uses", key_use, now - key_use.KEPT_FOR
        yield "audit_entries", audit_log, expiry.days_before(now, settings.AUDIT_KEEP_DAYS)

    def _purge_usage(self) -> None:
        """Roll-ups of users on days that are past the cutoff. Those of models are about nobody."""
        day = roll_ups.oldest_day_of_users()
        while day is not None and day < self.cutoff.date():
            kept = None if day in self.holds.days else self.holds.users
            while kept is not None and roll_ups.remove_users(day, kept, RECORDS_AT_ONCE):
                self._step()
            day = roll_ups.oldest_day_of_users(after=day)

    def _end(self) -> None:
        report = self.report
        while stubs := self.storage.database.remove_expired_stubs(self.cutoff, self.run.batch_size):
            report.stubs += stubs
            self._step()
        self.archive.tidy((names.PENDING, FOLDER))
        report.remaining = 0
        while given := self.storage.database.reclaim():
            report.reclaimed_bytes += given
            self._step()
        report.unreclaimed_bytes = self.storage.database.unreclaimable_bytes()

    def _step(self) -> None:
        self.run.step(self.report.cold + self.report.hot)


def _of_one_day(segments: Iterable[str]) -> Iterator[list[str]]:
    """Segments, which come day by day, in lists of one day."""
    for _, of_day in groupby(segments, names.day_of):
        yield from batched(of_day, SEGMENTS_AT_ONCE)
