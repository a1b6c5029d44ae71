"""Moving what is no longer hot to cold storage.

# Note [Moving a batch]

    mark the segment; write it; put stubs in the place of the rows that are still as they were
    written, a few at a time; compact the segment if some were not; take the mark away

A segment without stubs counts for nothing, so it does no harm that it is written first. Each row
changes over by itself, in one step of the database: it is hot until then and cold from then on.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from chat.maintenance.compaction import compact, finish_interrupted
from chat.maintenance.damage import Damage
from chat.maintenance.holds import Holds
from chat.maintenance.policy import Policy
from chat.maintenance.runs import LockLost, Run
from storage import expiry
from storage.archive.lists import position
from storage.archive.manifests import Manifest
from storage.interface import Storage
from storage.models import ChatInteraction
from storage.records.cursors import Position

PAGE = 100
"""Rows read at a time: at most 40 MB."""

SEGMENT_BYTES = 32 * 1024 * 1024
"""Text in one segment, about: what is in memory while it is written."""

MOVED_AT_ONCE = 500

COUNTED_AT_MOST = 1_000_000


@dataclass
class Archived:
    """What a run of archive_interactions has done; of a dry run, what it would do."""

    finished: int = 0
    """Segments that an interrupted run or a deletion had left to be finished."""
    archived: int = 0
    changed: int = 0
    """Interactions that were changed or deleted meanwhile; the next run looks at them again."""
    segments: int = 0
    remaining: int = 0
    """Interactions that are due still; while there are very many, some of them."""


def archive(storage: Storage, policy: Policy, run: Run, report: Archived) -> None:
    """Move what is older than the hot days and has not expired. Counts as it goes in `report`.

    Raises DamagedArchive only when all else is done.
    """
    if run.dry_run:
        _count_batches(storage, policy, run, report)
        return
    report.remaining = _count(storage, policy)
    with Damage() as damage:
        with damage.passed_over():
            report.finished = finish_interrupted(storage, run, policy.gone_until)
        holds = Holds.of(storage.archive)
        for batch in _batches(storage, policy, run.batch_size):
            run.step(report.archived)
            _move(storage, batch, holds, policy, run, report)
        report.remaining = report.changed


def _count_batches(storage: Storage, policy: Policy, run: Run, report: Archived) -> None:
    report.finished = len(storage.archive.marked())
    for batch in _batches(storage, policy, run.batch_size):
        report.archived += len(batch)
        report.segments += 1
        report.remaining = report.archived
        run.step(report.archived)


def _count(storage: Storage, policy: Policy) -> int:
    expired = storage.database.count_oldest(policy.gone_until, COUNTED_AT_MOST)
    due = storage.database.count_oldest(policy.archive_until, expired + COUNTED_AT_MOST)
    return max(due - expired, 0)


def _move(
    storage: Storage,
    batch: list[ChatInteraction],
    holds: Holds,
    policy: Policy,
    run: Run,
    report: Archived,
) -> None:
    segment = storage.archive.new_segment(batch[0].created_at.date())
    marker = storage.archive.mark(segment)
    written = storage.archive.write(segment, batch)
    try:
        moved = _put_stubs(storage, batch, segment, run, report)
    except LockLost:
        _take_back(storage, batch, segment, written)
        raise
    if _take_back(storage, batch, segment, written):
        raise LockLost
    if moved < len(batch):
        compact(storage, segment, holds, policy.gone_until)
    storage.archive.unmark([marker])
    report.changed += len(batch) - moved
    report.segments += 1 if moved else 0


def _put_stubs(
    storage: Storage, batch: list[ChatInteraction], segment: str, run: Run, report: Archived
) -> int:
    moved = 0
    for start in range(0, len(batch), MOVED_AT_ONCE):
        run.step(report.archived)
        some = batch[start : start + MOVED_AT_ONCE]
        count = storage.move_to_cold(some, segment)
        moved += count
        report.archived += count
        report.remaining = max(report.remaining - len(some), 0)
    return moved


def _take_back(
    storage: Storage, batch: list[ChatInteraction], segment: str, written: Manifest | None
) -> bool:
    """Make a batch hot again if another run has rewritten its segment meanwhile; whether it has.

    That one saw rows without stubs, and has dropped them. See Note [Keeping the lock].
    """
    if storage.archive.manifest(segment) == written:
        return False
    storage.archive.mark(segment)
    storage.return_from_cold(batch, segment)
    return True


def _batches(storage: Storage, policy: Policy, size: int) -> Iterator[list[ChatInteraction]]:
    """What is to be archived, oldest first: for each batch, rows of one day that fit in memory."""
    batch: list[ChatInteraction] = []
    held = 0
    for interaction in _due(storage, policy):
        size_of_text = interaction.text_bytes
        is_full = len(batch) == size or held + size_of_text > SEGMENT_BYTES
        if batch and (is_full or batch[0].created_at.date() != interaction.created_at.date()):
            yield batch
            batch, held = [], 0
        batch.append(interaction)
        held += size_of_text
    if batch:
        yield batch


def _due(storage: Storage, policy: Policy) -> Iterator[ChatInteraction]:
    after: Position = (policy.gone_until + expiry.MICROSECOND, "")
    while page := storage.oldest(policy.archive_until, PAGE, after):
        for interaction in page:
            # An index that lags may have one twice, which was deleted and made again.
            if position(interaction) > after:
                after = position(interaction)
                yield interaction
