"""Deleting what is past the retention cutoff, from cold and hot storage, for good.

A damaged file keeps nothing else from being deleted, but the run fails at its end. The file itself
is deleted unread once all of its day is past the cutoff, if nothing can be under a legal hold.
"""

from dataclasses import dataclass
from datetime import date, datetime

from chat.maintenance.compaction import SegmentCounts, compact, examine, finish_interrupted
from chat.maintenance.damage import Damage
from chat.maintenance.holds import FOLDER, Holds
from chat.maintenance.policy import Policy
from chat.maintenance.runs import Run
from storage.archive import names
from storage.archive.manifests import Manifest
from storage.exceptions import DamagedArchive
from storage.interface import Storage

PAGE = 100
"""Rows read at a time: at most 40 MB."""

COUNTED_AT_MOST = 1_000_000

RECORDS_AT_ONCE = 500


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
    """Segments deleted whose manifest was damaged or lost. Their rows are in no count."""
    hot: int = 0
    """Interactions deleted from the database."""
    held: int = 0
    """Interactions that would have been deleted, but are under a legal hold."""
    stubs: int = 0
    idempotency_records: int = 0
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
        _Purge(storage, policy.cutoff, run, report, damage).do()


class _Purge:
    def __init__(
        self, storage: Storage, cutoff: datetime, run: Run, report: Purged, damage: Damage
    ) -> None:
        self._storage = storage
        self._archive = storage.archive
        self._cutoff = cutoff
        self._holds = Holds.of(storage.archive)
        self._run = run
        self._report = report
        self._damage = damage
        self._due: dict[str, int] = {}
        """About how many rows are past the cutoff, by segment."""
        self._unreadable: list[str] = []

    def do(self) -> None:
        """Purge the archive, then the database, and then what belongs to them."""
        marked = set(self._archive.marked())
        if self._run.dry_run:
            self._report.finished = len(marked)
        else:
            with self._damage.passed_over():
                self._report.finished = finish_interrupted(
                    self._storage, self._run, self._holds, self._cutoff
                )
            marked = set()
        for day in self._archive.days():
            if day <= self._cutoff.date():
                self._examine_day(day, marked)
        hot = self._storage.database.count_oldest(self._cutoff, COUNTED_AT_MOST)
        self._report.remaining = sum(self._due.values()) + hot
        for segment in self._due:
            self._step()
            with self._damage.passed_over():
                self._purge_segment(segment, marked)
        self._purge_unreadable()
        self._purge_hot()
        self._purge_records()
        if self._run.dry_run:
            self._report.remaining = self._report.cold + self._report.hot
        else:
            self._end()

    def _examine_day(self, day: date, marked: set[str]) -> None:
        segments, lost = self._archive.segments_and_lost(day)
        nothing_stays = day < self._cutoff.date() and self._is_unheld(day)
        for segment in segments:
            try:
                manifest = self._archive.manifest(segment)
            except DamagedArchive as error:
                lost.append(segment)
                if not nothing_stays:
                    self._damage.found.append(error)
                continue
            if manifest is not None and manifest.oldest <= self._cutoff:
                self._due[segment] = _expired(manifest, self._cutoff)
        if nothing_stays:
            self._unreadable += sorted(set(lost) - marked)

    def _purge_segment(self, segment: str, marked: set[str]) -> None:
        if self._run.dry_run:
            counts = examine(self._storage, segment, self._holds, self._cutoff)
        else:
            counts = self._removed(segment)
        report = self._report
        report.held += counts.held
        if segment not in marked:  # completing a marked one would drop the rest
            report.cold += counts.dropped
            report.segments += not counts.kept
        report.remaining = max(report.remaining - self._due[segment], 0)

    def _removed(self, segment: str) -> SegmentCounts:
        marker = self._archive.mark(segment)
        manifest = self._archive.manifest(segment)
        if manifest is not None and self._is_over(manifest):
            self._archive.remove(segment)
            counts = SegmentCounts(kept=0, dropped=manifest.count, held=0)
        else:
            try:
                counts = compact(self._storage, segment, self._holds, self._cutoff)
            except DamagedArchive:
                self._archive.unmark([marker])  # nothing of it was changed
                raise
        self._archive.unmark([marker])
        return counts

    def _is_unheld(self, day: date) -> bool:
        return day not in self._holds.days and not self._holds.users

    def _is_over(self, manifest: Manifest) -> bool:
        return manifest.newest <= self._cutoff and not self._holds.may_hold(manifest)

    def _purge_unreadable(self) -> None:
        for segment in self._unreadable:
            self._step()
            if not self._run.dry_run:
                self._archive.remove(segment)
            self._report.unreadable += 1

    def _purge_hot(self) -> None:
        report, after = self._report, None
        while page := self._storage.oldest(self._cutoff, min(PAGE, self._run.batch_size), after):
            self._step()
            after = page[-1].position
            unheld = [row for row in page if not self._holds.holds(row)]
            report.held += len(page) - len(unheld)
            report.hot += (
                len(unheld)
                if self._run.dry_run
                else self._storage.database.remove_expired(unheld, self._cutoff)
            )
            report.remaining = max(report.remaining - len(page), 0)

    def _purge_records(self) -> None:
        """Idempotency keys that have expired."""
        database, now = self._storage.database, self._run.now
        if self._run.dry_run:
            self._report.idempotency_records = database.count_expired_idempotency_keys(now)
            return
        while removed := database.remove_expired_idempotency_keys(now, RECORDS_AT_ONCE):
            self._report.idempotency_records += removed
            self._step()

    def _end(self) -> None:
        report = self._report
        while stubs := self._storage.database.remove_expired_stubs(
            self._cutoff, self._run.batch_size
        ):
            report.stubs += stubs
            self._step()
        self._archive.tidy((names.PENDING, FOLDER))
        report.remaining = 0
        while given := self._storage.database.reclaim():
            report.reclaimed_bytes += given
            self._step()
        report.unreclaimed_bytes = self._storage.database.unreclaimable_bytes()

    def _step(self) -> None:
        self._run.step(self._report.cold + self._report.hot)


def _expired(manifest: Manifest, cutoff: datetime) -> int:
    """The number of rows at or before the cutoff; a frame counts as a whole."""
    return sum(frame.count for frame in manifest.frames if frame.first[0] <= cutoff)
