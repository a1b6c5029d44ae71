"""Everything that is kept of a user, hot and cold: each interaction once, newest first.

# Note [Reading while interactions change tiers]

Nothing is locked: an archive run may take hours, and a user's right to a copy does not wait for it.
An interaction keeps its id wherever it is, so an export remembers the ids that it has returned (in
memory; they are one user's), and reads

    1. hot rows and the segments of the archive, merged, newest first; then, span by span:
    2. the segments of these days that were not there before
    3. the hot rows again
    4. the segments of these days that were not there before

A span has about a page of hot rows. Steps 2 to 4 return only what moved during step 1, and return
it last. A row of a segment is a candidate: it counts if its stub names the segment.
Otherwise it is looked up by its id, which finds it in whichever tier it is now.

Whatever makes a row of a segment invalid marks the segment before, and the mark stays until the
row is gone from it. So if a segment was not marked when the reading began, nor after its rows were
read, each of them has counted at some moment of the reading, and no stub needs to be looked up.

Step 1 misses an interaction that was cold when its turn among the hot rows came, in a segment that
was written after its day was listed, or rewritten before it was read. Step 2 finds it in its new
segment, or it has been restored. Then step 3 finds it hot, or it has been archived once more. Then
step 4 finds it, or it has been restored once more. So only one that three runs move is missed, two
of them in the moment in which the steps 2 to 4 of one span are taken.

DynamoDB's index lags: what was saved or restored within the last second may be missing.
"""

import heapq
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from functools import cached_property
from operator import itemgetter
from typing import Any

from chat.maintenance.damage import Damage
from chat.maintenance.erasure import ledger
from chat.maintenance.holds import Holds, lost_stubs_until
from chat.maintenance.identity import require_archive
from chat.maintenance.large_texts import whole
from storage import expiry, limits
from storage.archive.lists import merged, times
from storage.archive.pseudonyms import Sought
from storage.interface import Storage
from storage.models import ApiKey, ChatInteraction
from storage.records.cursors import Position
from storage.records.json import format_time
from storage.records.pages import PAGE_TEXT, every, never
from storage.records.stubs import Stub
from storage.records.texts import characters_of
from storage.sql.errors import translated

PAGE = 100
"""Rows of one page, at most. With large texts it has fewer, since there may be three copies."""

BOTTOM: Position = (datetime.min.replace(tzinfo=UTC), "")

MARK_ROWS = 100
"""Rows of others in a segment of an earlier version, after which a reading may pause."""

Found = tuple[Position, ChatInteraction | None, str]
"""Position, row and segment of an interaction. The segment of a hot row is empty.

An entry without a row only marks a position.
"""


@dataclass
class Progress:
    """How far a reading is, and when it is to pause."""

    is_over: Callable[[], bool] = lambda: False
    """Whether the next page is to end early, with what was found so far."""
    reached: Position | None = None
    """What was above it has been returned."""
    is_closing: bool = False
    """Whether only what has moved meanwhile is looked for. That cannot be resumed half-way."""


def pages_of(
    storage: Storage,
    user_id: str,
    at_once: int = PAGE,
    *,
    before: Position | None = None,
    exported: Iterable[Position] = (),
    progress: Progress | None = None,
    damage: Damage | None = None,
) -> Iterator[list[ChatInteraction]]:
    """Pages of a user's interactions, newest first, equal times by id; a page may be empty.

    What has expired is left out, unless a legal hold keeps it. What changes tiers meanwhile may
    come last: see Note [Reading while interactions change tiers]. What is saved meanwhile may come
    last or not at all. To go on with an export that was cut short, give the positions that it has,
    and the one that it had reached. Hot rows whose large texts are damaged are left out and
    noted in `damage`, if that is given. Raises StorageUnavailable, its subclass DamagedArchive, and
    ArchiveMismatch.
    """
    if not limits.identifier_violation(user_id):
        require_archive(storage)
        holds = Holds.of(storage.archive)
        returned = _Returned(exported)
        progress = progress or Progress()
        reading = _Reading(storage, user_id, at_once, returned, holds, progress, damage)
        yield from reading.pages(before)


def kept_besides(storage: Storage, user_id: str) -> dict[str, Any]:
    """What is kept of a user besides interactions: API keys (never the key), and erasures."""
    with translated:
        keys = list(ApiKey.objects.filter(user_id=user_id).order_by("created", "pk"))
    return {
        "api_keys": [
            {
                "name": key.name,
                "created_at": format_time(key.created),
                "expires_at": key.expiry_date and format_time(key.expiry_date),
                "revoked": key.revoked,
            }
            for key in keys
        ],
        "erasures": [
            {
                "erasure_id": erasure.erasure_id,
                "requested_at": format_time(erasure.requested_at),
                "status": erasure.status,
            }
            for erasure in ledger.pending(storage.archive)
            if erasure.user_id == user_id
        ],
    }


class _Returned:
    """The interactions that were returned: by their ids, which stay theirs wherever they are.

    But what has expired and is held has lost its id: a newer one may have it.
    """

    def __init__(self, positions: Iterable[Position]) -> None:
        self._cutoff = expiry.cutoff()
        self._known = {self._key(position) for position in positions}

    def add(self, row: ChatInteraction) -> None:
        self._known.add(self._key(row.position))

    def __contains__(self, row: ChatInteraction) -> bool:
        return self._key(row.position) in self._known

    def _key(self, position: Position) -> str | Position:
        return position if position[0] <= self._cutoff else position[1]


@dataclass
class _Reading:
    """One reading of one user. See Note [Reading while interactions change tiers]."""

    storage: Storage
    user_id: str
    at_once: int
    returned: _Returned
    holds: Holds
    progress: Progress
    damage: Damage | None
    hot_page_ends: list[Position] = field(default_factory=list)
    listed: set[str] = field(default_factory=set)
    """Segments that were read, or have nothing of the user."""

    def __post_init__(self) -> None:
        self.sought = Sought([self.user_id])
        self.marked_before = set(self.storage.archive.marked())

    def pages(self, before: Position | None) -> Iterator[list[ChatInteraction]]:
        """All pages: those from `before` downwards, and then what has moved meanwhile."""
        hot, cold = self._hot(before), self._cold(before)
        yield from self._new(heapq.merge(hot, cold, key=itemgetter(0), reverse=True))
        if before is not None:  # the rows above it may have moved since an earlier run read them
            self.listed.clear()
        self.progress.is_closing = True
        yield from self._new(self._moved())

    def _moved(self) -> Iterator[Found]:
        start = None
        for end in [*self.hot_page_ends, BOTTOM]:
            yield from self._unread_of(self._days(start, end))
            yield from self._hot(start, end)
            yield from self._unread_of(self._days(start, end))
            start = end

    def _hot(self, before: Position | None, end: Position = BOTTOM) -> Iterator[Found]:
        """Hot rows, newest first, to the page that has `end`."""
        while before is None or before > end:
            rows = self._hot_page(before)
            whole_ones = rows if self.damage is None else whole(self.storage, rows, self.damage)
            yield from ((row.position, row, "") for row in whole_ones)
            if not rows:  # a page of large texts is short
                return
            before = rows[-1].position
            self.hot_page_ends.append(before)

    def _hot_page(self, before: Position | None) -> list[ChatInteraction]:
        """A page of hot rows, without their large texts if these are fetched past damage."""
        texts_of = every if self.damage is None else never
        return self.storage.hot_of_user(self.user_id, self.at_once, before, texts_of)

    def _cold(self, before: Position | None) -> Iterator[Found]:
        for day in self._days(before):
            # With this mark, a merge asks for the rows of a day only once it is the day's turn.
            if before is None or _end(day) < before:
                yield _end(day), None, ""
            yield from self._unread_of([day], before)

    def _days(self, before: Position | None, end: Position = BOTTOM) -> list[date]:
        """The days of the archive between two positions, newest first."""
        days = reversed(self.storage.archive.days())
        return [day for day in days if _end(day) > end and (not before or _start(day) < before)]

    def _unread_of(self, days: Iterable[date], before: Position | None = None) -> Iterator[Found]:
        """Rows of those segments of some days that were not read before."""
        for day in days:
            yield from merged(self._unread(day), lambda segment: self._rows_of(segment, before))

    def _unread(self, day: date) -> Mapping[str, datetime]:
        """The segments of a day that may have rows of the user and were not read before.

        With the times of their newest rows.
        """
        found = self.storage.archive.listed(day)[0]
        unread = [each for each in found if each.segment not in self.listed]
        self.listed.update(each.segment for each in unread)
        return {
            segment: newest
            for segment, _, newest in times(self.storage.archive, unread, self.sought)
        }

    def _rows_of(self, segment: str, before: Position | None) -> Iterator[Found]:
        rows = self.storage.archive.newest(segment, before, None, self.sought)
        for number, row in enumerate(rows):
            if row.user_id == self.user_id:
                yield row.position, row, segment
            elif number % MARK_ROWS == 0:
                yield row.position, None, ""

    def _new(self, found: Iterable[Found]) -> Iterator[list[ChatInteraction]]:
        """Pages of those of the rows that count and were not returned before."""
        for some in self._paged(found):
            rows = [(row, segment) for _, row, segment in some if row and self._may_return(row)]
            doubtful = self._doubtful({segment for _, segment in rows if segment})
            ids = [row.interaction_id for row, segment in rows if segment in doubtful]
            stubs = self.storage.database.stubs(ids) if ids else {}
            places = [(row, segment if segment in doubtful else "") for row, segment in rows]
            new = [new for row, segment in places if (new := self._current(row, segment, stubs))]
            if not self.progress.is_closing:
                self.progress.reached = some[-1][0]
            yield new

    def _doubtful(self, segments: set[str]) -> set[str]:
        """Those of the segments that were read whose rows need not all count."""
        if not segments:
            return segments
        return segments & (self.marked_before | self.storage.archive.marked().keys())

    def _paged(self, found: Iterable[Found]) -> Iterator[list[Found]]:
        page: list[Found] = []
        characters = 0
        for each in found:
            page.append(each)
            characters += 0 if each[1] is None else characters_of(each[1].__dict__)
            is_full = len(page) == self.at_once or characters >= PAGE_TEXT
            if is_full or self.progress.is_over():
                yield page
                page, characters = [], 0
        if page:
            yield page

    def _may_return(self, row: ChatInteraction) -> bool:
        if row in self.returned:
            return False
        return not expiry.has_expired(row.created_at) or self.holds.holds(row)

    def _current(
        self, row: ChatInteraction, segment: str, stubs: Mapping[str, Stub]
    ) -> ChatInteraction | None:
        """The row in its present state. None if it was returned before, or is gone.

        `segment` is that of a row that may not count.
        """
        if row in self.returned:
            return None  # two segments have it, or it is hot as well
        stub = stubs.get(row.interaction_id)
        # The stubs of what has expired are deleted; only a legal hold keeps its row.
        counts = not segment or (stub and stub.segment == segment)
        found = row if counts or expiry.has_expired(row.created_at) else self._elsewhere(row)
        if found is None and not stub and self._may_have_lost_stub(row):
            found = row
        if found is not None:
            self.returned.add(found)
        return found

    def _may_have_lost_stub(self, row: ChatInteraction) -> bool:
        return self.holds.holds(row) and row.created_at <= self._lost_stubs_until

    @cached_property
    def _lost_stubs_until(self) -> datetime:
        return lost_stubs_until(self.storage.archive)

    def _elsewhere(self, row: ChatInteraction) -> ChatInteraction | None:
        """An interaction as it is now, hot or cold; None if it was deleted."""
        found = self.storage.get_interaction_sync(row.interaction_id)
        if found is None or found.user_id != row.user_id or found.position != row.position:
            return None
        return found


def _start(day: date) -> Position:
    """A position before all of a day."""
    return datetime.combine(day, time.min, UTC), ""


def _end(day: date) -> Position:
    """A position behind all of a day."""
    return datetime.combine(day, time.max, UTC), chr(sys.maxunicode)
