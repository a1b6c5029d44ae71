"""Restoring a day from cold storage, for an investigation. The next run archives it again."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time

from chat.maintenance.compaction import Compaction
from chat.maintenance.damage import Damage
from chat.maintenance.holds import Holds
from chat.maintenance.policy import Policy
from chat.maintenance.runs import Run
from storage.compat import batched
from storage.exceptions import DamagedArchive, StorageError
from storage.interface import Storage
from storage.models import ChatInteraction
from storage.records.pages import never

ROWS_AT_ONCE = 100
"""Rows in memory at once: at most 40 MB."""


class NothingArchived(StorageError):
    """The archive has nothing of this day that may be read. The message says why."""


@dataclass
class Restored:
    """What a run of restore_archive has done; of a dry run, what it would do."""

    finished: int = 0
    """Segments that an interrupted run or a deletion had left to be completed."""
    restored: int = 0
    """Interactions that are hot again."""
    segments: int = 0
    remaining: int = 0


def restore(storage: Storage, day: date, policy: Policy, run: Run, report: Restored) -> None:
    """Make what was created on `day` (UTC) hot again, unless it has expired.

    Counts in `report` as it goes. Raises NothingArchived, and DamagedArchive; for files of another
    day only when everything else is done.
    """
    with Damage() as damage:
        holds = Holds.of(storage.archive)
        compaction = Compaction(storage, holds, policy.cutoff, check_time=run.check_time)
        with damage.passed_over():
            report.finished = compaction.finish_interrupted(run)
        _Job(storage, run, report, compaction, damage).restore(day)


def require_archived(storage: Storage, day: date, cutoff: datetime) -> None:
    """Raises NothingArchived if there is nothing to restore, by what is known so far."""
    if _end(day) <= cutoff or not storage.archive.segments(day):
        raise NothingArchived(_nothing(storage, day, cutoff))


@dataclass(frozen=True)
class _Job:
    """What restoring a day needs."""

    storage: Storage
    run: Run
    report: Restored
    compaction: Compaction
    damage: Damage

    def restore(self, day: date) -> None:
        require_archived(self.storage, day, self.compaction.cutoff)
        counts = self._counts(day)
        self.report.remaining = sum(counts.values())
        for segment in counts:
            with self.damage.passed_over():
                (self._count if self.run.dry_run else self._restore)(segment)
                self.report.segments += 1
        self.report.remaining = self.report.restored if self.run.dry_run else 0

    def _counts(self, day: date) -> dict[str, int]:
        """The segments of a day whose manifests can be read, and how many rows each has."""
        counts = {}
        for segment in self.storage.archive.segments(day):
            with self.damage.passed_over():
                if (manifest := self.storage.archive.manifest(segment)) is not None:
                    counts[segment] = manifest.count
        return counts

    def _restore(self, segment: str) -> None:
        archive, before = self.storage.archive, self.report.restored
        marker = archive.mark(segment)
        try:
            self._return_rows(segment)
            self.compaction.compact(segment)
        except DamagedArchive:
            if self.report.restored == before:  # nothing of it was changed
                archive.unmark([marker])
            raise
        archive.unmark([marker])

    def _count(self, segment: str) -> None:
        for rows in self._unexpired(segment):
            stubs = self.storage.database.stubs([row.interaction_id for row in rows])
            self.report.restored += sum(stub.segment == segment for stub in stubs.values())

    def _return_rows(self, segment: str) -> None:
        for rows in self._unexpired(segment):
            self.report.restored += self.storage.return_from_cold(rows, segment)

    def _unexpired(self, segment: str) -> Iterator[list[ChatInteraction]]:
        at_once = min(ROWS_AT_ONCE, self.run.batch_size)
        for rows in batched(self.storage.archive.rows(segment), at_once):
            self.run.step(self.report.restored)
            yield [row for row in rows if row.created_at > self.compaction.cutoff]
            self.report.remaining = max(self.report.remaining - len(rows), 0)


def _nothing(storage: Storage, day: date, cutoff: datetime) -> str:
    days = storage.archive.days()
    which = f"It has days from {days[0]} to {days[-1]}." if days else "It is empty."
    if _end(day) <= cutoff:
        return (
            f"{day} is older than RETENTION_TOTAL_DAYS, so it can no longer be read. "
            f"The archive: {which}"
        )
    start = datetime.combine(day, time.min, UTC)
    if storage.oldest(_end(day), 1, (start, ""), never):
        return f"{day} is still in the database, not in the archive. {which}"
    return f"Neither the archive nor the database has anything of {day}. {which}"


def _end(day: date) -> datetime:
    """The last moment of a day."""
    return datetime.combine(day, time.max, UTC)
