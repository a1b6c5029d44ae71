"""What is asked of a list and what it returns, on every backend."""

from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Literal

from storage import expiry
from storage.models import ChatInteraction
from storage.records import cursors
from storage.records.json import Record, from_record


@dataclass(frozen=True)
class Page:
    """Interactions, newest first, and the cursor of the next page: None on the last page only."""

    records: list[Record] = field(repr=False)  # texts stay out of logs
    next_cursor: str | None

    @cached_property
    def interactions(self) -> list[ChatInteraction]:
        """The records as the type that every layer passes; JSON needs no such detour."""
        return [from_record(record) for record in self.records]


@dataclass(frozen=True)
class Slice:
    """What a backend is asked for: `limit` rows before `before`, of one user or of everyone.

    `created_after` is always given: nothing that has expired is ever asked for.
    """

    user_id: str | None
    limit: int
    created_after: datetime
    before: cursors.Position | None = None
    created_before: datetime | None = None


@dataclass(frozen=True)
class PageQuery:
    """Which page of a list, newest first.

    `created_after` is included and `created_before` is not, so that periods which touch
    neither overlap nor leave a gap. `cursor` continues where the page that gave it ended.
    `tier` is `hot`, or `archive` for what is in cold storage; no list has both.
    """

    limit: int = 50
    cursor: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    tier: Literal["hot", "archive"] = "hot"

    def slice(self, user_id: str | None) -> Slice:
        """What a backend is asked for: of one user or, if None, of everyone.

        Raises InvalidCursor for a cursor of another query, ValueError for a limit below 1.
        """
        if self.limit < 1:
            raise ValueError(f"limit must be at least 1, not {self.limit}.")
        before = cursors.decode(self.cursor, self._scope(user_id)) if self.cursor else None
        unexpired = expiry.cutoff() + expiry.MICROSECOND
        earliest = unexpired if self.created_after is None else max(self.created_after, unexpired)
        return Slice(user_id, self.limit, earliest, before, self.created_before)

    def page(
        self, user_id: str | None, records: list[Record], last: cursors.Position | None
    ) -> Page:
        """The page of these records. The next one goes on behind `last`; None if there is none."""
        cursor = None if last is None else cursors.encode(last, self._scope(user_id))
        return Page(records, cursor)

    def _scope(self, user_id: str | None) -> cursors.Scope:
        return user_id, str(self.created_after), str(self.created_before), self.tier
