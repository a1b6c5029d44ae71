"""Compacting a segment of the archive: removing the rows that have no stub in it.

This also completes what an interrupted run or deletion has begun. Every step that adds rows to a
segment or takes rows away marks the segment first, so whatever was interrupted, its mark is left.
The next run compacts all marked segments. A row that was not moved is still hot, one that was
restored is hot again, one that was deleted is gone: in each case the segment loses it.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from chat.maintenance.damage import Damage
from chat.maintenance.holds import Holds, lost_stubs_until
from chat.maintenance.runs import Run
from storage import expiry
from storage.archive.rewriting import ROWS_AT_ONCE, Judge, Rewriting
from storage.compat import batched
from storage.exceptions import DamagedArchive
from storage.interface import Storage
from storage.models import ChatInteraction
from storage.records.pages import never
from storage.records.stubs import Stub


@dataclass(frozen=True)
class SegmentCounts:
    """How many rows of a segment stay and how many go."""

    kept: int
    dropped: int
    held: int
    """Of those kept: past the retention cutoff. After a purge they are under a legal hold."""


@dataclass(frozen=True)
class Compaction:
    """Compacts segments of a storage.

    A segment keeps the rows that have a stub in it, and those under a legal hold whose stub may be
    gone: they are past the retention cutoff, or were when fewer days were kept. Only a purge
    removes what has a stub because it is past the cutoff: other runs do not depend on the clock
    being right. A run as of an earlier time knows as well that the stub may be gone.
    """

    storage: Storage
    holds: Holds
    cutoff: datetime
    purges: bool = False
    check_time: Callable[[], None] = lambda: None
    """May raise, between any two pages of rows: what is compacted is then as it was."""

    def finish_interrupted(
        self, run: Run, damaged: Callable[[str, DamagedArchive], None] | None = None
    ) -> int:
        """Compact what interrupted runs and deletions have marked. Returns the number of segments.

        A dry run only reads them. A damaged segment stays marked. `damaged` is called with it;
        without that, the damage is raised when all others are done.
        """
        archive = self.storage.archive
        finished = 0
        with Damage() as damage:
            for segment, markers in archive.marked().items():
                try:
                    if run.dry_run:
                        self.refuse_lost_manifest(segment)
                        self.examine(segment)
                    else:
                        self.compact(segment)
                        archive.unmark(markers)
                    finished += 1
                except DamagedArchive as error:
                    if damaged is None:
                        damage.found.append(error)
                    else:
                        damaged(segment, error)
                run.step()
        return finished

    def compact(self, segment: str) -> SegmentCounts:
        """Remove the rows that do not stay.

        Mark the segment before you call this, and afterwards remove only the marks that you knew
        of before: a newer one is somebody else's.
        """
        self.refuse_lost_manifest(segment)
        self.storage.archive.remove_orphans(segment)
        return self._counted(segment, self.storage.archive.rewrite)

    def remove_users(self, segment: str, user_ids: Collection[str]) -> None:
        """Remove all rows of these users, whose stubs are gone, and nothing else.

        What has no stub besides stays until what has marked the segment for that is completed. So
        the cost is that of these users' rows. Mark the segment as for `compact`.
        """

        def others(rows: Sequence[ChatInteraction]) -> list[ChatInteraction]:
            self.check_time()
            return [row for row in rows if row.user_id not in user_ids]

        self.refuse_lost_manifest(segment)
        self.storage.archive.remove_orphans(segment)
        self.storage.archive.rewrite(segment, others, user_ids)

    def examine(self, segment: str) -> SegmentCounts:
        """Returns what `compact` would do. A segment that does not exist has no rows."""
        return self._counted(segment, self._judged)

    def _counted(self, segment: str, do: Callable[[str, Judge], Rewriting]) -> SegmentCounts:
        held = 0

        def judge(rows: Sequence[ChatInteraction]) -> list[ChatInteraction]:
            nonlocal held
            kept = self._kept(segment, rows)
            held += sum(row.created_at <= self.cutoff for row in kept)
            return kept

        counts = do(segment, judge)
        return SegmentCounts(counts.kept, counts.dropped, held)

    def _judged(self, segment: str, judge: Judge) -> Rewriting:
        kept = count = 0
        for rows in batched(self.storage.archive.rows(segment), ROWS_AT_ONCE):
            kept += len(list(judge(rows)))
            count += len(rows)
        return Rewriting(kept, count - kept)

    def refuse_lost_manifest(self, segment: str) -> None:
        """Raise DamagedArchive if a segment has rows and stubs, but no manifest.

        A run that died before it wrote the first manifest has left no stubs, and a purge that died
        has left only expired ones. So with other stubs the manifest was lost.
        """
        if self.storage.archive.manifest(segment) is not None:
            return
        purged = self.cutoff if self.purges else min(self.cutoff, expiry.cutoff())
        for ids in self.storage.archive.orphaned_ids(segment):
            stubs = self.storage.database.stubs(ids).values()
            if any(stub.segment == segment and stub.created_at > purged for stub in stubs):
                raise DamagedArchive(f"{segment}.json", "it is missing, and its rows are there")

    def _kept(self, segment: str, rows: Sequence[ChatInteraction]) -> list[ChatInteraction]:
        self.check_time()
        stubs = self.storage.database.stubs([row.interaction_id for row in rows])
        lost = self._with_lost_stubs([row for row in rows if row.interaction_id not in stubs])
        return [
            row
            for row in rows
            if self._stays(row, segment, stubs.get(row.interaction_id))
            or row.interaction_id in lost
        ]

    def _stays(self, row: ChatInteraction, segment: str, stub: Stub | None) -> bool:
        counts = stub is not None and stub.segment == segment
        is_purged = self.purges and row.created_at <= self.cutoff
        return (counts and not is_purged) or (self._is_past(row) and self.holds.holds(row))

    def _is_past(self, row: ChatInteraction) -> bool:
        return row.created_at <= self.cutoff or expiry.has_expired(row.created_at)

    def _with_lost_stubs(self, rows: Sequence[ChatInteraction]) -> set[str]:
        """The ids of those of these that are held, and were past the cutoff with fewer days."""
        ids = [
            row.interaction_id
            for row in rows
            if self.holds.holds(row)
            and not self._is_past(row)
            and row.created_at <= self._lost_stubs_until
        ]
        # What was restored has no stub either: it is hot.
        return set(ids) - self.storage.database.look_at(ids, never).keys() if ids else set()

    @cached_property
    def _lost_stubs_until(self) -> datetime:
        return lost_stubs_until(self.storage.archive)
