"""Bringing a day back from cold storage, for an investigation. The next run archives it again."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time

from chat.maintenance.compaction import compact, examine, finish_interrupted
from chat.maintenance.damage import Damage
from chat.maintenance.holds import Holds
from chat.maintenance.policy import Policy
from chat.maintenance.runs import Run
from storage.batched import batched
from storage.exceptions import StorageError
from storage.interface import Storage

ROWS_AT_ONCE = 100
"""Rows in memory at once: at most 40 MB."""


class NothingArchived(StorageError):
    """The archive has nothing of this day that may be read; the text says why."""


@dataclass
class Restored:
    """What a run of restore_archive has done; of a dry run, what it would do."""

    finished: int = 0
    """Segments that an interrupted run or a deletion had left to be finished."""
    restored: int = 0
    segments: int = 0
    remaining: int = 0


def restore(storage: Storage, day: date, policy: Policy, run: Run, report: Restored) -> None:
    """Make what was created on `day` (UTC) hot again, unless it has expired.

    Counts as it goes in `report`. Raises NothingArchived; and DamagedArchive, for another day's
    files only when all else is done.
    """
    with Damage() as damage:
        if run.dry_run:
            report.finished = len(storage.archive.marked())
        else:
            with damage.passed_over():
                report.finished = finish_interrupted(storage, run, policy.gone_until)
        _restore(storage, day, policy, run, report)


def _restore(storage: Storage, day: date, policy: Policy, run: Run, report: Restored) -> None:
    segments = storage.archive.segments(day)
    if not segments or _end(day) <= policy.gone_until:
        raise NothingArchived(_nothing(storage, day, policy))
    counts = {
        segment: manifest.count
        for segment in segments
        if (manifest := storage.archive.manifest(segment))
    }
    report.remaining = sum(counts.values())
    holds = Holds.of(storage.archive)
    if run.dry_run:
        _count(storage, list(counts), holds, policy, run, report)
        return
    for segment in counts:
        marker = storage.archive.mark(segment)
        _restore_segment(storage, segment, policy, run, report)
        compact(storage, segment, holds, policy.gone_until)
        storage.archive.unmark([marker])
        report.segments += 1
    report.remaining = 0


def _count(
    storage: Storage,
    segments: list[str],
    holds: Holds,
    policy: Policy,
    run: Run,
    report: Restored,
) -> None:
    for segment in segments:
        run.step(report.restored)
        content = examine(storage, segment, holds, policy.gone_until)
        report.restored += content.kept - content.held
        report.segments += 1
    report.remaining = report.restored


def _restore_segment(
    storage: Storage, segment: str, policy: Policy, run: Run, report: Restored
) -> None:
    for some in batched(storage.archive.rows(segment), min(ROWS_AT_ONCE, run.batch_size)):
        run.step(report.restored)
        unexpired = [each for each in some if each.created_at > policy.gone_until]
        report.restored += storage.return_from_cold(unexpired, segment)
        report.remaining = max(report.remaining - len(some), 0)


def _nothing(storage: Storage, day: date, policy: Policy) -> str:
    days = storage.archive.days()
    which = f"It has days from {days[0]} to {days[-1]}." if days else "It has nothing at all."
    if _end(day) <= policy.gone_until:
        return f"{day} is past all its days, and can be read no more. The archive: {which}"
    start = datetime.combine(day, time.min, UTC)
    if storage.oldest(_end(day), 1, (start, "")):
        return f"{day} is hot still: the database has it. The archive has nothing of it. {which}"
    return f"The archive has nothing of {day}, nor has the database. {which}"


def _end(day: date) -> datetime:
    """The last moment of a day."""
    return datetime.combine(day, time.max, UTC)
