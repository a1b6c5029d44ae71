"""Bringing a day back from cold storage, for an investigation. The next run archives it again."""

from dataclasses import dataclass
from datetime import date
from itertools import islice

from storage.archive.holds import Holds
from storage.exceptions import StorageError
from storage.interface import Storage
from storage.lifecycle.compaction import compact, finish_interrupted
from storage.lifecycle.policy import Policy
from storage.lifecycle.runs import Run

ROWS_AT_ONCE = 100
"""Rows in memory at once: at most 40 MB."""


class NothingArchived(StorageError):
    """The archive has nothing of this day: it is hot still, or gone."""


@dataclass
class Restored:
    """What a run of restore_archive has done."""

    finished: int = 0
    """Segments that an interrupted run or a deletion had left to be finished."""
    restored: int = 0
    segments: int = 0
    remaining: int = 0


def restore(storage: Storage, day: date, policy: Policy, run: Run, report: Restored) -> None:
    """Make what was created on `day` (UTC) hot again, unless it has expired.

    Counts as it goes in `report`. Raises NothingArchived.
    """
    if not run.dry_run:
        report.finished = finish_interrupted(storage, run, policy.gone_until)
    segments = storage.archive.segments(day)
    if not segments:
        raise NothingArchived(_nothing(storage, day))
    counts = {
        segment: manifest.count
        for segment in segments
        if (manifest := storage.archive.manifest(segment))
    }
    report.remaining = sum(counts.values())
    if run.dry_run:
        return
    holds = Holds.of(storage.archive)
    for segment, count in counts.items():
        marker = storage.archive.mark(segment)
        _restore_segment(storage, segment, policy, run, report)
        compact(storage, segment, holds, policy.gone_until)
        storage.archive.unmark([marker])
        report.segments += 1
        report.remaining -= count


def _restore_segment(
    storage: Storage, segment: str, policy: Policy, run: Run, report: Restored
) -> None:
    rows = storage.archive.rows(segment)
    while some := list(islice(rows, ROWS_AT_ONCE)):
        run.step(report.restored)
        unexpired = [each for each in some if each.created_at > policy.gone_until]
        report.restored += storage.return_from_cold_sync(unexpired, segment)


def _nothing(storage: Storage, day: date) -> str:
    days = storage.archive.days()
    which = f"It has days from {days[0]} to {days[-1]}." if days else "It has nothing at all."
    return f"The archive has nothing of {day}. {which}"
