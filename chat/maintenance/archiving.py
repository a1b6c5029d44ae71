"""Moving interactions that are no longer hot to cold storage.

The due rows of a day are read oldest first, as many as fit in memory: a slab. It is sorted by user
and cut into segments, so that a user is in one or two of them. It is moved in these steps:

    mark each segment and write it; replace the rows by stubs, oldest first, a few hundred at a
    time, unless they have changed since; compact the segments if some had; remove the marks

A row of a segment counts only if its stub names the segment, so writing the segment first does no
harm. Each row changes tiers in one step of the database: it is hot before and cold afterwards.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from chat.maintenance.compaction import Compaction
from chat.maintenance.damage import Damage
from chat.maintenance.holds import Holds
from chat.maintenance.large_texts import whole
from chat.maintenance.policy import Policy
from chat.maintenance.runs import LockLost, Run
from storage import expiry
from storage.archive import segments
from storage.archive.manifests import Manifest
from storage.compat import batched
from storage.exceptions import ForeignTimes
from storage.interface import Storage
from storage.models import ChatInteraction
from storage.records.cursors import Position, follows
from storage.records.pages import never

PAGE = 100
"""Rows read at a time: at most 13 MB without their large texts."""

SLAB_BYTES = 64 * 1024 * 1024
"""What the rows of a slab take in memory, about."""

ROW_BYTES = 1500
"""What a row takes in memory besides its text, about."""

SEGMENT_ROWS = 256
"""The most rows in a segment, which is what an erasure reads and writes for each day of a user: see
decision 0033.
"""

SEGMENT_BYTES = 8 * 1024 * 1024
"""Text in one segment, about: all of it is in memory when a page has its rows."""

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

    What has expired moves if it is under a legal hold: hot, it would give way to a row that takes
    its id, and to DynamoDB's TTL. DamagedArchive is raised only when everything else is done.
    """
    report.remaining = _count(storage, policy)
    with Damage() as damage:
        holds = Holds.of(storage.archive)
        compaction = Compaction(storage, holds, policy.cutoff, check_time=run.check_time)
        with damage.passed_over():
            report.finished = compaction.finish_interrupted(run)
        job = _Job(storage, run, report, compaction)
        for slab in _slabs(_due(storage, policy, holds, run, damage)):
            run.step(report.archived)
            job.move(slab)
            del slab  # before the rows of the next are read
        report.remaining = report.archived if run.dry_run else report.changed


def _count(storage: Storage, policy: Policy) -> int:
    expired = storage.database.count_oldest(policy.cutoff, COUNTED_AT_MOST)
    due = storage.database.count_oldest(policy.archive_until, expired + COUNTED_AT_MOST)
    return max(due - expired, 0)


@dataclass(frozen=True)
class _Segment:
    """A segment that was written, with its rows and its marker."""

    name: str
    rows: list[ChatInteraction]
    marker: str
    written: Manifest | None


@dataclass(frozen=True)
class _Job:
    """What moving a slab needs."""

    storage: Storage
    run: Run
    report: Archived
    compaction: Compaction

    def move(self, slab: list[ChatInteraction]) -> None:
        """Move the rows of a slab, in the steps that the docstring of this module lists."""
        batches = cut(slab, min(self.run.batch_size, SEGMENT_ROWS))
        if self.run.dry_run:
            self.report.archived += len(slab)
            self.report.segments += sum(1 for _ in batches)
            return
        written = [self._write(batch) for batch in batches]
        try:
            changed = self._put_stubs(slab, written)
        except LockLost:
            _take_back(self.storage, written)
            raise
        if _take_back(self.storage, written):
            raise LockLost
        for segment in written:
            is_whole = changed.isdisjoint(row.interaction_id for row in segment.rows)
            kept = len(segment.rows) if is_whole else self.compaction.compact(segment.name).kept
            self.storage.archive.unmark([segment.marker])
            self.report.segments += 1 if kept else 0

    def _write(self, batch: list[ChatInteraction]) -> _Segment:
        archive = self.storage.archive
        name = archive.new_segment(batch[0].created_at.date())
        marker = archive.mark(name)
        return _Segment(name, batch, marker, archive.write(name, batch))

    def _put_stubs(self, slab: list[ChatInteraction], written: list[_Segment]) -> set[str]:
        """Returns the ids of the rows that have changed, and stay.

        The order is that of time, in which rows are neighbours in the database, too.
        """
        changed: set[str] = set()
        names = {row.interaction_id: segment.name for segment in written for row in segment.rows}
        for rows in batched(slab, MOVED_AT_ONCE):
            self.run.step(self.report.archived)
            count = self.storage.move_to_cold(rows, names)
            if count < len(rows):
                changed |= self._without_stub(rows, names)
            self.report.archived += count
            self.report.changed += len(rows) - count
            counted = sum(row.created_at > self.compaction.cutoff for row in rows)
            self.report.remaining = max(self.report.remaining - counted, 0)
        return changed

    def _without_stub(self, rows: list[ChatInteraction], names: Mapping[str, str]) -> set[str]:
        ids = [row.interaction_id for row in rows]
        stubs = self.storage.database.stubs(ids)
        return {each for each in ids if each not in stubs or stubs[each].segment != names[each]}


def _take_back(storage: Storage, written: list[_Segment]) -> bool:
    """Make rows hot again whose segments another run has rewritten. Returns whether one has.

    The other run saw rows without stubs and removed them. See Note [Keeping the lock].
    """
    archive = storage.archive
    lost = [each for each in written if archive.manifest(each.name) != each.written]
    for segment in lost:
        archive.mark(segment.name)
        storage.return_from_cold(segment.rows, segment.name)
    return bool(lost)


def cut(
    slab: Iterable[ChatInteraction], at_most: int = SEGMENT_ROWS
) -> Iterator[list[ChatInteraction]]:
    """The rows of a day by user, in batches of so many rows that divide few users."""
    batch: list[ChatInteraction] = []
    text_bytes = 0
    for _, row in segments.by_user(slab):
        is_full = len(batch) == at_most or text_bytes + row.text_bytes > SEGMENT_BYTES
        is_enough = len(batch) >= at_most * 3 / 4 and batch[-1].user_id != row.user_id
        if is_full or is_enough:
            yield batch
            batch, text_bytes = [], 0
        batch.append(row)
        text_bytes += row.text_bytes
    if batch:
        yield batch


def _slabs(rows: Iterable[ChatInteraction]) -> Iterator[list[ChatInteraction]]:
    """Rows that come by time, in lists of one day that fit in memory.

    An id that was deleted and imported again meanwhile comes twice, but not in one list: a stub
    names a segment, and that would have both.
    """
    slab: list[ChatInteraction] = []
    ids: set[str] = set()
    slab_bytes = 0
    for row in rows:
        row_bytes = ROW_BYTES + row.text_bytes
        is_full = slab_bytes + row_bytes > SLAB_BYTES or row.interaction_id in ids
        if slab and (is_full or slab[0].created_at.date() != row.created_at.date()):
            yield slab
            slab, ids, slab_bytes = [], set(), 0
        slab.append(row)
        ids.add(row.interaction_id)
        slab_bytes += row_bytes
    if slab:
        yield slab


def _due(
    storage: Storage, policy: Policy, holds: Holds, run: Run, damage: Damage
) -> Iterator[ChatInteraction]:
    """What is to be moved, oldest first. A dry run needs no large texts, and reads none."""
    unexpired = (policy.cutoff + expiry.MICROSECOND, "")
    after: Position | None = None if holds.all else unexpired
    while page := storage.oldest(policy.archive_until, PAGE, after, never):
        run.check_time()
        read = []
        for interaction in page:
            # A lagging index may return one twice that was deleted and created again.
            if after is None or follows(interaction.position, after):
                after = interaction.position
                read.append(interaction)
        if not read:
            raise ForeignTimes  # the next page would be the same, for ever
        due = [row for row in read if row.created_at > policy.cutoff or holds.holds(row)]
        yield from due if run.dry_run else whole(storage, due, damage)
