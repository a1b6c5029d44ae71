"""Moving interactions that are no longer hot to cold storage.

A batch of rows is moved in these steps:

    mark the segment; write it; replace the rows by stubs, a few hundred at a time, unless they have
    changed since; compact the segment if some had; remove the mark

A row of a segment counts only if its stub names the segment, so writing the segment first does no
harm. Each row changes tiers in one step of the database: it is hot before and cold afterwards.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from chat.maintenance.compaction import Compaction
from chat.maintenance.damage import Damage
from chat.maintenance.holds import Holds
from chat.maintenance.policy import Policy
from chat.maintenance.runs import LockLost, Run
from storage import expiry
from storage.archive.manifests import Manifest
from storage.batched import batched
from storage.interface import Storage
from storage.models import ChatInteraction
from storage.records.cursors import Position

PAGE = 100
"""Rows read at a time: at most 40 MB."""

SEGMENT_BYTES = 32 * 1024 * 1024
"""Text in one segment, about. All of it is in memory while the segment is written."""

MOVED_AT_ONCE = 500

COUNTED_AT_MOST = 1_000_000


@dataclass
class Archived:
    """What a run of archive_interactions has done; of a dry run, what it would do."""

    finished: int = 0
    """Segments that an interrupted run or a deletion had left to be completed."""
    archived: int = 0
    """Interactions moved."""
    changed: int = 0
    """Interactions that were changed or deleted before they could be moved. The next run looks at
    them again.
    """
    segments: int = 0
    remaining: int = 0
    """Interactions that are still due. With more than a million, not all of them are counted."""


def archive(storage: Storage, policy: Policy, run: Run, report: Archived) -> None:
    """Move what is older than the hot days and has not expired. Counts in `report` as it goes.

    DamagedArchive is raised only when everything else is done.
    """
    report.remaining = _count(storage, policy)
    with Damage() as damage:
        holds = Holds.of(storage.archive)
        compaction = Compaction(storage, holds, policy.cutoff, check_time=run.check_time)
        with damage.passed_over():
            report.finished = compaction.finish_interrupted(run)
        job = _Job(storage, run, report, compaction)
        for batch in _batches(storage, policy, run):
            run.step(report.archived)
            job.move(batch)
        report.remaining = report.archived if run.dry_run else report.changed


def _count(storage: Storage, policy: Policy) -> int:
    expired = storage.database.count_oldest(policy.cutoff, COUNTED_AT_MOST)
    due = storage.database.count_oldest(policy.archive_until, expired + COUNTED_AT_MOST)
    return max(due - expired, 0)


@dataclass(frozen=True)
class _Job:
    """What moving a batch needs."""

    storage: Storage
    run: Run
    report: Archived
    compaction: Compaction

    def move(self, batch: list[ChatInteraction]) -> None:
        """Move one batch, in the steps that the docstring of this module lists."""
        if self.run.dry_run:
            self.report.archived += len(batch)
            self.report.segments += 1
            return
        archive = self.storage.archive
        segment = archive.new_segment(batch[0].created_at.date())
        marker = archive.mark(segment)
        written = archive.write(segment, batch)
        try:
            moved = self._put_stubs(batch, segment)
        except LockLost:
            _take_back(self.storage, batch, segment, written)
            raise
        if _take_back(self.storage, batch, segment, written):
            raise LockLost
        if moved < len(batch):
            self.compaction.compact(segment)
        archive.unmark([marker])
        self.report.changed += len(batch) - moved
        self.report.segments += 1 if moved else 0

    def _put_stubs(self, batch: list[ChatInteraction], segment: str) -> int:
        moved = 0
        for rows in batched(batch, MOVED_AT_ONCE):
            self.run.step(self.report.archived)
            count = self.storage.move_to_cold(rows, segment)
            moved += count
            self.report.archived += count
            self.report.remaining = max(self.report.remaining - len(rows), 0)
        return moved


def _take_back(
    storage: Storage, batch: list[ChatInteraction], segment: str, written: Manifest | None
) -> bool:
    """Make a batch hot again if another run has rewritten its segment. Returns whether one has.

    The other run saw rows without stubs and removed them. See Note [Keeping the lock].
    """
    if storage.archive.manifest(segment) == written:
        return False
    storage.archive.mark(segment)
    storage.return_from_cold(batch, segment)
    return True


def _batches(storage: Storage, policy: Policy, run: Run) -> Iterator[list[ChatInteraction]]:
    """What is to be archived, oldest first. A batch is of one day and fits in memory."""
    batch: list[ChatInteraction] = []
    batch_bytes = 0
    for interaction in _due(storage, policy, run):
        text_bytes = interaction.text_bytes
        is_full = len(batch) == run.batch_size or batch_bytes + text_bytes > SEGMENT_BYTES
        if batch and (is_full or batch[0].created_at.date() != interaction.created_at.date()):
            yield batch
            batch, batch_bytes = [], 0
        batch.append(interaction)
        batch_bytes += text_bytes
    if batch:
        yield batch


def _due(storage: Storage, policy: Policy, run: Run) -> Iterator[ChatInteraction]:
    after: Position = (policy.cutoff + expiry.MICROSECOND, "")
    while page := storage.oldest(policy.archive_until, PAGE, after):
        run.check_time()
        for interaction in page:
            # A lagging index may return one twice that was deleted and created again.
            if interaction.position > after:
                after = interaction.position
                yield interaction
