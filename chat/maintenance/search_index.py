"""Building the index of words again, by which a search finds texts without going through them.

A backend that has one keeps it in step by itself, and makes it anew when it is lost, from the
database. What had been archived by then only the archive has.
"""

from dataclasses import dataclass

from chat.maintenance.damage import Damage
from chat.maintenance.identity import require_archive
from chat.maintenance.runs import Run
from storage.compat import batched
from storage.database import Indexed
from storage.exceptions import StorageError
from storage.interface import Storage

STEP_SECONDS = 1.0

ROWS_AT_ONCE = 100
"""Rows in memory at once: at most 40 MB."""


class NoIndex(StorageError):
    """There is no index of words."""

    def __init__(self) -> None:
        super().__init__(
            "There is no search index here: searches for text go through the interactions. On "
            "SQLite, the log says why."
        )


class StillIncomplete(StorageError):
    """Archived interactions are in no segment that could be read."""

    def __init__(self) -> None:
        super().__init__(
            "Some archived interactions are in no file of the archive, so the search index is not "
            "used. Run manage.py verify_archive --stubs."
        )


@dataclass
class Rebuilt:
    """What a run of rebuild_search has done."""

    archived: int = 0
    """Archived interactions that were put into the index."""
    is_complete: bool = False
    """Whether searches use the index."""


def rebuild(storage: Storage, run: Run, report: Rebuilt, *, anew: bool) -> None:
    """Complete the index, or with `anew` make all of it again. Counts in `report` as it goes.

    Raises NoIndex, StillIncomplete, ArchiveMismatch, and what keeps the archive or the index from
    being used.
    """
    database = storage.database
    require_archive(storage)
    state = database.texts_indexed() if run.dry_run else database.index_texts(0, anew=anew)
    if state is None:
        raise NoIndex
    if not run.dry_run:
        state = _caught_up(storage, run, report)
        if state is Indexed.LACKS_ARCHIVED:
            _add_archived(storage, run, report)
            state = _caught_up(storage, run, report)
        if state is Indexed.LACKS_ARCHIVED:
            raise StillIncomplete
    report.is_complete = state is Indexed.COMPLETE


def complete(storage: Storage, run: Run) -> None:
    """Add what is archived and not indexed, if there is an index that lacks it."""
    if run.dry_run:
        return
    if storage.database.index_texts(0) is Indexed.LACKS_ARCHIVED:
        rebuild(storage, run, Rebuilt(), anew=False)


def _caught_up(storage: Storage, run: Run, report: Rebuilt) -> Indexed | None:
    while (state := storage.database.index_texts(STEP_SECONDS)) is Indexed.BEHIND:
        run.step(report.archived)
    return state


def _add_archived(storage: Storage, run: Run, report: Rebuilt) -> None:
    """Add what the index lacks. When all that can be read is added, raises DamagedArchive for a
    damaged segment, or StorageUnavailable that names several.
    """
    lacking = storage.database.segments_to_index()  # not those that were indexed before
    with Damage() as damage:
        for segment in filter(lacking.__contains__, storage.archive.all_segments()):
            with damage.passed_over():
                _add_segment(storage, segment, run, report)


def _add_segment(storage: Storage, segment: str, run: Run, report: Rebuilt) -> None:
    for rows in batched(storage.archive.rows(segment), ROWS_AT_ONCE):
        run.step(report.archived)
        stubs = storage.database.stubs([row.interaction_id for row in rows])
        # A row without a stub that names its segment is left over, and about to go.
        kept = [
            row
            for row in rows
            if (stub := stubs.get(row.interaction_id)) and stub.segment == segment
        ]
        report.archived += storage.database.index_archived(kept)
