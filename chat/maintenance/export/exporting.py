"""Everything that is kept of a person, hot and cold: each interaction once, newest first.

# Note [Reading what changes over]

Nothing is locked: a run of `archive_interactions` may take hours, and a person's right to a copy
does not wait for it. Nor need it be, because an interaction keeps its time and id wherever it is.
So the whole is read in windows from the newest to the oldest, each from one time and id to
another, and what belongs to a window is found in one go:

    hot rows; names of the segments; their rows; hot rows again; names of the segments again

A row of a segment is a candidate. What is not among the hot rows is looked up: it counts if its
stub names the segment; if not, it is asked for by its id, which finds it wherever it is now. So
whatever is in a segment when they are listed is found, come what may. What is hot at that time is
missed only if it is cold at both looks at hot rows. It has moved, then, to a segment that was not
listed, and the second list differs from the first: the window is read again. For that not to show,
it must be hot once more before the second list: three runs (one that restores it, one that
archives it, one that restores it), all within the milliseconds that a window takes.

DynamoDB's index lags: what was saved or restored within the last second may be missing.
"""

import time
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

from chat.maintenance.erasure import ledger
from chat.maintenance.export.candidates import Candidate, Candidates
from chat.maintenance.holds import Holds
from storage import expiry, limits
from storage.archive.lists import position
from storage.interface import Storage
from storage.models import ApiKey, ChatInteraction
from storage.records.cursors import Position
from storage.records.json import format_time
from storage.sql_errors import translated

PAGE = 100
"""Rows of one window: at most 40 MB, of which there may be three copies."""

PAUSE_SECONDS = 1.0
"""Before a window is read again: longer than an index usually lags."""

BOTTOM: Position = (datetime.min.replace(tzinfo=UTC), "")

Rows = dict[Position, ChatInteraction]
Listed = tuple[date, tuple[str, ...]]
"""A day, and those of its segments that may have rows of the user."""


def interactions_of(
    storage: Storage, user_id: str, before: Position | None = None, at_once: int = PAGE
) -> Iterator[ChatInteraction]:
    """A user's interactions, newest first, equal times by id; those before a time and id.

    What has expired is left out, unless a legal hold keeps it. See Note [Reading what changes over]
    for what happens to interactions that change over meanwhile. One that is saved after its turn
    is not among them. Raises StorageUnavailable, of which DamagedArchive is one.
    """
    for page in pages_of(storage, user_id, before, at_once):
        yield from page


def pages_of(
    storage: Storage, user_id: str, before: Position | None = None, at_once: int = PAGE
) -> Iterator[list[ChatInteraction]]:
    """As `interactions_of`, in parts of at most three times `at_once`; a part may be empty."""
    if limits.identifier_violation(user_id):
        return
    windows = _Windows(storage, user_id, at_once)
    while before != BOTTOM:
        rows, before = windows.read(before)
        yield [rows[each] for each in sorted(rows, reverse=True)]


def kept_besides(storage: Storage, user_id: str) -> dict[str, Any]:
    """What is kept of a person besides interactions: API keys (never the key), and erasures."""
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


class _Windows:
    """One reading of one user."""

    def __init__(self, storage: Storage, user_id: str, at_once: int) -> None:
        self._storage = storage
        self._user_id = user_id
        self._at_once = at_once
        self._holds = Holds.of(storage.archive)
        self._candidates = Candidates(storage.archive, user_id)

    def read(self, before: Position | None) -> tuple[Rows, Position]:
        """The rows of the window below `before`, and where it ends: at BOTTOM, if it is the last.

        The end itself is in the window.
        """
        while True:
            hot = self._hot(before)
            end = self._end(hot)
            listed = self._listed(before, end)
            found, window_end = self._candidates_in(listed, before, end)
            again = self._hot(before)
            window_end = max(window_end, self._end(again))
            if self._listed(before, end) == listed:
                self._candidates.drop(window_end)
                rows = _within(hot + again, window_end)
                self._add(rows, [each for each in found if position(each.row) >= window_end])
                return self._countable(rows), window_end
            time.sleep(PAUSE_SECONDS)

    def _hot(self, before: Position | None) -> list[ChatInteraction]:
        return self._storage.hot_of_user(self._user_id, self._at_once, before)

    def _end(self, hot: list[ChatInteraction]) -> Position:
        """Where a window with these hot rows ends: there may be more behind a whole page."""
        return position(hot[-1]) if len(hot) == self._at_once else BOTTOM

    def _listed(self, before: Position | None, end: Position) -> Listed | None:
        """The newest day in a window of which the archive may have rows of the user."""
        for day in reversed(self._storage.archive.days()):
            if day >= end[0].date() and (before is None or _start(day) < before):
                segments = self._candidates.segments(day)
                if segments:
                    return day, segments
        return None

    def _candidates_in(
        self, listed: Listed | None, before: Position | None, end: Position
    ) -> tuple[list[Candidate], Position]:
        """The candidates of a window, and where it ends if it is to have no more than a page."""
        if listed is None:
            return [], end
        day, segments = listed
        end = max(end, _start(day))
        found = self._candidates.between(segments, before, end, self._at_once)
        return found, position(found[-1].row) if len(found) == self._at_once else end

    def _add(self, rows: Rows, candidates: list[Candidate]) -> None:
        """Add those candidates that are there and are not among the rows."""
        missing = [each for each in candidates if position(each.row) not in rows]
        stubs = self._storage.database.stubs([each.row.interaction_id for each in missing])
        for each in missing:
            at = position(each.row)
            stub = stubs.get(each.row.interaction_id)
            if at in rows:
                continue  # two segments have it
            is_here = stub is not None and stub.segment == each.segment
            if is_here or expiry.has_expired(each.row.created_at):
                rows[at] = each.row
            elif (row := self._elsewhere(each.row)) is not None:
                rows[at] = row

    def _elsewhere(self, row: ChatInteraction) -> ChatInteraction | None:
        """An interaction as it is now, hot or cold; None if it is not there any more."""
        found = self._storage.get_interaction_sync(row.interaction_id)
        if found is None or found.user_id != row.user_id or position(found) != position(row):
            return None
        return found

    def _countable(self, rows: Rows) -> Rows:
        cutoff = expiry.cutoff()
        # The stubs of what has expired are deleted, and what a hold keeps has none therefore.
        return {
            at: row for at, row in rows.items() if row.created_at > cutoff or self._holds.holds(row)
        }


def _within(rows: list[ChatInteraction], end: Position) -> Rows:
    return {position(row): row for row in rows if position(row) >= end}


def _start(day: date) -> Position:
    """Before all positions of a day."""
    return datetime.combine(day, datetime.min.time(), UTC), ""
