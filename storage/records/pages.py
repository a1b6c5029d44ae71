"""What is asked of a list and what it gives, on every backend."""

from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Literal

from storage.models import ChatInteraction
from storage.records import cursors
from storage.records.json import Record, from_record


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
