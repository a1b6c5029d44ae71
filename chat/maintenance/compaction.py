"""Compacting a segment of the archive: removing the rows that have no stub in it.

This also completes what an interrupted run or deletion has begun. Every step that adds rows to a
segment or takes rows away marks the segment first, so whatever was interrupted, its mark is left.
The next run compacts all marked segments. A row that was not moved is still hot, one that was
restored is hot again, one that was deleted is gone: in each case the segment loses it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from chat.maintenance.damage import Damage
from chat.maintenance.holds import Holds
from chat.maintenance.runs import Run
from storage.batched import batched
from storage.exceptions import DamagedArchive
from storage.interface import Storage
from storage.models import ChatInteraction

ROWS_AT_ONCE = 500
"""Rows whose stubs are read with one call."""


@dataclass(frozen=True)
class SegmentCounts:
    """How many rows of a segment stay and how many go."""

    kept: int
    dropped: int
    held: int
    """Of those kept: past the retention cutoff, but under a legal hold."""


def finish_interrupted(storage: Storage, run: Run, holds: Holds, cutoff: datetime) -> int:
    """Compact the segments that interrupted runs and deletions have marked. Returns their number.

    A damaged segment stays marked. DamagedArchive is raised only when all others are done.
    """
    finished = 0
    with Damage() as damage:
        for segment, markers in storage.archive.marked().items():
            with damage.passed_over():
                compact(storage, segment, holds, cutoff)
                storage.archive.unmark(markers)
                finished += 1
            run.step()
    return finished


def compact(storage: Storage, segment: str, holds: Holds, cutoff: datetime) -> SegmentCounts:
    """Remove the rows that have no stub in this segment, and those past the retention cutoff.

    Of the latter, what is under a legal hold stays. Mark the segment before you call this, and
    afterwards remove only the marks that you knew of before: a newer one is somebody else's.
    """
    _refuse_lost_manifest(storage, segment, cutoff)
    storage.archive.remove_orphans(segment)
    counts = examine(storage, segment, holds, cutoff)
    if not counts.kept:
        storage.archive.remove(segment)
    elif counts.dropped:
        storage.archive.write(segment, _kept(storage, segment, holds, cutoff))
    return counts


def examine(storage: Storage, segment: str, holds: Holds, cutoff: datetime) -> SegmentCounts:
    """Returns what `compact` would do. A segment that does not exist has no rows."""
    manifest = storage.archive.manifest(segment)
    if manifest is None:
        return SegmentCounts(0, 0, 0)
    kept = held = 0
    for row in _kept(storage, segment, holds, cutoff):
        kept += 1
        held += row.created_at <= cutoff
    return SegmentCounts(kept, manifest.count - kept, held)


def _refuse_lost_manifest(storage: Storage, segment: str, cutoff: datetime) -> None:
    """Raise DamagedArchive if a segment has rows and stubs, but no manifest.

    A run that died before it wrote the first manifest has left no stubs, and a purge that died has
    left only expired ones. So with other stubs the manifest was lost.
    """
    if storage.archive.manifest(segment) is not None:
        return
    for ids in storage.archive.orphaned_ids(segment):
        stubs = storage.database.stubs(ids).values()
        if any(stub.segment == segment and stub.created_at > cutoff for stub in stubs):
            raise DamagedArchive(f"{segment}.json", "it is missing, and its rows are there")


def _kept(
    storage: Storage, segment: str, holds: Holds, cutoff: datetime
) -> Iterator[ChatInteraction]:
    for rows in batched(storage.archive.rows(segment), ROWS_AT_ONCE):
        stubs = storage.database.stubs([row.interaction_id for row in rows])
        for row in rows:
            stub = stubs.get(row.interaction_id)
            if row.created_at <= cutoff:
                if holds.holds(row):
                    yield row
            elif stub is not None and stub.segment == segment:
                yield row
