"""Bringing a segment of the archive into line with the stubs: so ends what was cut short.

Every step that makes rows of a segment come or go marks the segment first. A run that ends midway
leaves the mark, and the next one compacts what is marked: whatever the step was, only what has a
stub in this segment stays in it. A row that was not moved is hot still; one that was brought back
is hot again; one that was deleted is gone.
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
"""Rows whose stubs are looked up at once."""


@dataclass(frozen=True)
class Content:
    """Rows of a segment: its own, those that are not any more, and those held beyond their time."""

    kept: int
    dropped: int
    held: int


def finish_interrupted(storage: Storage, run: Run, gone_until: datetime) -> int:
    """Compact what interrupted runs and deletions have marked; how many segments.

    Raises DamagedArchive only when all others are done; what is damaged stays marked.
    """
    holds = Holds.of(storage.archive)
    finished = 0
    with Damage() as damage:
        for segment, markers in storage.archive.marked().items():
            with damage.passed_over():
                compact(storage, segment, holds, gone_until)
                storage.archive.unmark(markers)
                finished += 1
            run.step()
    return finished


def compact(storage: Storage, segment: str, holds: Holds, gone_until: datetime) -> Content:
    """Drop the rows that are the segment's no more, and those created at or before `gone_until`.

    Of these, what is under a legal hold stays. The segment must be marked, and the marks known
    before this is called be taken away after it: one that comes in between is another's.
    """
    _refuse_lost_manifest(storage, segment, gone_until)
    storage.archive.remove_orphans(segment)
    content = examine(storage, segment, holds, gone_until)
    if not content.kept:
        storage.archive.remove(segment)
    elif content.dropped:
        storage.archive.write(segment, _kept(storage, segment, holds, gone_until))
    return content


def _refuse_lost_manifest(storage: Storage, segment: str, gone_until: datetime) -> None:
    """What a run leaves that dies before its first manifest has no stubs: else one was lost.

    A purge that dies leaves stubs, which have expired.
    """
    if storage.archive.manifest(segment) is not None:
        return
    for ids in storage.archive.orphaned_ids(segment):
        stubs = storage.database.stubs(ids).values()
        if any(stub.segment == segment and stub.created_at > gone_until for stub in stubs):
            raise DamagedArchive(f"{segment}.json", "it is missing, and its rows are there")


def examine(storage: Storage, segment: str, holds: Holds, gone_until: datetime) -> Content:
    """What `compact` would make of a segment. One that is not there has no rows."""
    manifest = storage.archive.manifest(segment)
    if manifest is None:
        return Content(0, 0, 0)
    kept = held = 0
    for each in _kept(storage, segment, holds, gone_until):
        kept += 1
        held += each.created_at <= gone_until
    return Content(kept, manifest.count - kept, held)


def _kept(
    storage: Storage, segment: str, holds: Holds, gone_until: datetime
) -> Iterator[ChatInteraction]:
    for some in batched(storage.archive.rows(segment), ROWS_AT_ONCE):
        stubs = storage.database.stubs([each.interaction_id for each in some])
        for each in some:
            stub = stubs.get(each.interaction_id)
            if each.created_at <= gone_until:
                if holds.holds(each):
                    yield each
            elif stub is not None and stub.segment == segment:
                yield each
