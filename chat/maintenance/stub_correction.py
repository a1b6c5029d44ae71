"""Letting the stubs of a restored database name the segments that have the rows now.

The archive has changed since the backup: a row that was hot is in a segment now, a stub names a
segment that was rewritten, restored or purged, or a day was archived again, to other segments.
First every stub goes whose row is not where it says, and then every row without a stub gets one.
The other order would take a row that moved for one that is in two segments, and drop it.

A row that is hot in the copy stays hot; its segment is marked for compaction. Segments that are the
same as at the time of the backup are not read: their stubs are right.
"""

from collections.abc import Collection, Iterator, Mapping

from chat.maintenance.policy import Policy
from storage.archive import generations
from storage.archive.stub_lists import StubsBySegment, stubs_by_segment
from storage.compat import batched
from storage.interface import Storage
from storage.models import ChatInteraction
from storage.records.stubs import Stub

ROWS_AT_ONCE = 500
"""Rows in one transaction."""


def correct_stubs(
    storage: Storage, policy: Policy, before: Mapping[str, str], *, archive_lost: bool = False
) -> None:
    """Make the stubs of what has not expired agree with the archive.

    `before` is what the archive had at the time of the backup. Left alone are marked segments,
    since only their stubs tell which of their rows count, and those that have lost their manifest,
    which may be found again; but with `archive_lost` no stub stays whose segment is not there.
    """
    archive = storage.archive
    same = before.items() & generations.complete(archive).items()
    segments = set(archive.all_segments())
    left_alone = {segment for segment, _ in same} & segments | archive.marked().keys()
    if archive_lost:
        left_alone &= segments
    else:
        left_alone.update(_lost_manifests(storage))
    changed = sorted(segments - left_alone)
    with stubs_by_segment(_to_correct(storage, policy, left_alone)) as stubs:
        for segment in sorted(stubs.segments() - segments):
            _drop(storage, stubs.ids(segment), segment)
        lacking = [segment for segment in changed if _drop_wrong(storage, policy, stubs, segment)]
        for segment in lacking:
            _adopt(storage, policy, stubs, segment)


def _lost_manifests(storage: Storage) -> Iterator[str]:
    for day in storage.archive.days():
        yield from storage.archive.segments_and_lost(day)[1]


def _to_correct(storage: Storage, policy: Policy, left_alone: Collection[str]) -> Iterator[Stub]:
    return (
        stub
        for stub in storage.database.all_stubs()
        if stub.created_at > policy.cutoff and stub.segment not in left_alone
    )


def _drop_wrong(storage: Storage, policy: Policy, stubs: StubsBySegment, segment: str) -> bool:
    """Drop the stubs whose rows a segment does not have. Returns whether it has rows without."""
    known = stubs.ids(segment)
    rows = {row.interaction_id for row in _unexpired(storage, policy, segment)}
    _drop(storage, known - rows, segment)
    return bool(rows - known)


def _adopt(storage: Storage, policy: Policy, stubs: StubsBySegment, segment: str) -> None:
    """Make stubs for the rows without. Mark the segment if one is not only there."""
    known = stubs.ids(segment)
    rows = (row for row in _unexpired(storage, policy, segment) if row.interaction_id not in known)
    adopted = [storage.database.adopt(part, segment) for part in batched(rows, ROWS_AT_ONCE)]
    if not all(adopted):
        storage.archive.mark(segment)


def _drop(storage: Storage, ids: Collection[str], segment: str) -> None:
    for part in batched(sorted(ids), ROWS_AT_ONCE):
        storage.database.drop_stubs(part, segment)


def _unexpired(storage: Storage, policy: Policy, segment: str) -> Iterator[ChatInteraction]:
    for row in storage.archive.rows(segment):
        if row.created_at > policy.cutoff:
            row.message = row.response = ""  # a stub needs none, and many rows are in memory
            yield row
