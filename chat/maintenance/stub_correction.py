"""Letting the stubs of a restored database name the segments that have the rows now.

The archive has changed since the backup: a row that was hot is in a segment now, a stub names a
segment that was rewritten, restored or purged, or a day was archived again, to other segments.
First everything is compared, and nothing is changed: a stub is wrong if its segment does not have
the row. Then every row without a stub gets one. A wrong stub of such a row is changed in one step,
so that a run that was killed can be repeated. Stubs that are still wrong are deleted last.

A row that is hot in the copy stays hot; its segment is marked for compaction. In a segment that is
marked already, a row without a stub may have been deleted. There only rows with a wrong stub get
one: they have moved.

Segments that are the same as at the time of the backup are not read: their stubs are right.
"""

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter

from chat.maintenance.policy import Policy
from storage.archive import generations
from storage.archive.stub_lists import StubsBySegment, stubs_by_segment
from storage.compat import batched
from storage.exceptions import DamagedArchive
from storage.interface import Storage
from storage.models import ChatInteraction
from storage.records.stubs import Stub

logger = logging.getLogger(__name__)

ROWS_AT_ONCE = 500
"""Rows in one transaction."""


def correct_stubs(
    storage: Storage, policy: Policy, before: Mapping[str, str], *, archive_lost: bool = False
) -> None:
    """Make the stubs of what has not expired agree with the archive.

    `before` is what the archive had at the time of the backup. The stubs of segments that are
    damaged stay, unless their rows are elsewhere, and so do those of segments that have lost their
    manifest, which may be found again. But with `archive_lost` no stub stays whose segment is not
    there.
    """
    archive = storage.archive
    same = before.items() & generations.complete(archive).items()
    segments = set(archive.all_segments())
    marked = archive.marked().keys()
    left_alone = {segment for segment, _ in same} & segments
    lost = set() if archive_lost else set(_lost_manifests(storage))
    with stubs_by_segment(_to_correct(storage, policy, left_alone)) as stubs:
        for segment in stubs.segments() - segments:
            stubs.note_wrong(segment, stubs.ids(segment), may_be_right=segment in lost)
        changed = sorted(segments - left_alone)
        lacking = [segment for segment in changed if _compare(storage, policy, stubs, segment)]
        for segment in lacking:
            if segment not in marked:
                _adopt(storage, policy, stubs, segment)
        for segment in reversed(lacking):  # the newest of a day has a row as it was last
            if segment in marked:
                _adopt_moved(storage, policy, stubs, segment)
        _drop_wrong(storage, stubs)


def _lost_manifests(storage: Storage) -> Iterator[str]:
    for day in storage.archive.days():
        yield from storage.archive.segments_and_lost(day)[1]


def _to_correct(storage: Storage, policy: Policy, left_alone: Collection[str]) -> Iterator[Stub]:
    return (
        stub
        for stub in storage.database.all_stubs()
        if stub.created_at > policy.cutoff and stub.segment not in left_alone
    )


def _compare(storage: Storage, policy: Policy, stubs: StubsBySegment, segment: str) -> bool:
    """Note the stubs whose rows a segment lacks. Returns whether it has rows without a stub."""
    known = stubs.ids(segment)
    try:
        rows = {row.interaction_id for row in _unexpired(storage, policy, segment)}
    except DamagedArchive as error:
        logger.warning("The stubs of its rows are not corrected: %s", error)
        stubs.note_wrong(segment, known, may_be_right=True)
        return False
    stubs.note_wrong(segment, known - rows)
    return bool(rows - known)


def _adopt(storage: Storage, policy: Policy, stubs: StubsBySegment, segment: str) -> None:
    """Make or move the stubs of a segment's rows. Mark it if one is hot or in another segment."""
    is_whole = True
    for rows in _without_stub(storage, policy, stubs, segment):
        _move_stubs(storage, stubs, rows, segment)
        is_whole &= storage.database.adopt(rows, segment)
    if not is_whole:
        storage.archive.mark(segment)


def _adopt_moved(storage: Storage, policy: Policy, stubs: StubsBySegment, segment: str) -> None:
    """The same for a marked segment, and only for rows that have a wrong stub."""
    for rows in _without_stub(storage, policy, stubs, segment):
        _move_stubs(storage, stubs, rows, segment)


def _without_stub(
    storage: Storage, policy: Policy, stubs: StubsBySegment, segment: str
) -> Iterator[list[ChatInteraction]]:
    known = stubs.ids(segment)
    rows = _unexpired(storage, policy, segment)
    return batched((row for row in rows if row.interaction_id not in known), ROWS_AT_ONCE)


def _move_stubs(
    storage: Storage, stubs: StubsBySegment, rows: Sequence[ChatInteraction], segment: str
) -> None:
    named = stubs.wrong_among([row.interaction_id for row in rows])
    for wrong in set(named.values()):
        moved = [row for row in rows if named.get(row.interaction_id) == wrong]
        storage.database.move_stubs(moved, wrong, segment)


def _drop_wrong(storage: Storage, stubs: StubsBySegment) -> None:
    """Drop the stubs that are still wrong: what has been moved names another segment."""
    for segment, found in groupby(stubs.wrong(), key=itemgetter(1)):
        for part in batched((interaction_id for interaction_id, _ in found), ROWS_AT_ONCE):
            storage.database.drop_stubs(part, segment)


def _unexpired(storage: Storage, policy: Policy, segment: str) -> Iterator[ChatInteraction]:
    for row in storage.archive.rows(segment):
        if row.created_at > policy.cutoff:
            row.message = row.response = ""  # a stub needs none, and many rows are in memory
            yield row
