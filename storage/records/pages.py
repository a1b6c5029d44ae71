"""The query of a list and the page that it returns, for every backend."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from math import inf
from typing import Any, Literal

from storage import expiry
from storage.models import ChatInteraction
from storage.records import cursors, texts
from storage.records.json import Record, from_record
from storage.records.texts import OBJECT, characters_in, characters_of

PAGE_TEXT = 4_000_000
"""Characters of all texts of a page, about: each takes up to four bytes in memory, and as many
again in a response. Only a page of a single interaction has more."""


def ends(left: float, characters: int) -> bool:
    """Whether a page that has something ends before texts of so many characters.

    `left` is what it has room for. A text that is not large may exceed that, once.
    """
    return left <= 0 or left < characters > texts.INLINE_MAX_BYTES


TextsOf = Callable[[Mapping[str, Any]], bool]
"""Says of which rows the texts are wanted, by their other fields: see `Slice.texts_of`."""


def every(row: Mapping[str, Any]) -> bool:
    """Always true."""
    return True


def never(row: Mapping[str, Any]) -> bool:
    """Always false: for what needs no texts."""
    return False


@dataclass(frozen=True)
class Page:
    """Interactions, newest first, and the cursor of the next page, None on the last page."""

    records: list[Record] = field(repr=False)  # texts stay out of logs
    next_cursor: str | None

    @cached_property
    def interactions(self) -> list[ChatInteraction]:
        """The records as interactions. Responses in JSON use the records directly."""
        return [from_record(record) for record in self.records]


@dataclass(frozen=True)
class JsonPage:
    """A page whose interactions are JSON, each as `storage.records.json` writes it."""

    items: list[bytes] = field(repr=False)
    next_cursor: str | None


@dataclass(frozen=True)
class Slice:
    """The query of a page as a backend gets it: up to `limit` rows before the position `before`.

    `user_id` is None for all users. `created_after` is in UTC, never before the retention cutoff.
    The row with which the texts have `max_text` characters is the last one (`ends`).
    Of a row for which `texts_of` is false, a backend need not fetch texts that lie elsewhere:
    something not empty stands in for them (Note [Stand-ins] in `storage.large.stand_ins`).
    """

    user_id: str | None
    limit: int
    created_after: datetime
    before: cursors.Position | None = None
    created_before: datetime | None = None
    max_text: float = inf
    texts_of: TextsOf = every

    def characters_of(self, record: Record) -> int:
        """How many of its characters a page has in memory; of texts elsewhere, only wanted ones."""
        if record.get(OBJECT) and not self.texts_of(record):
            return characters_in(record)
        return characters_of(record)

    def cut(self, records: Iterable[Record]) -> tuple[list[Record], bool]:
        """Returns those of the records that belong to the page, and whether more follow."""
        kept: list[Record] = []
        left = self.max_text
        for record in records:
            characters = self.characters_of(record)
            if len(kept) == self.limit or (kept and ends(left, characters)):
                return kept, True
            kept.append(record)
            left -= characters
        return kept, False


def earliest_of(created_after: datetime | None) -> datetime:
    """The `created_after` of the slice of a query, in UTC: the archive looks at its day."""
    unexpired = expiry.cutoff() + expiry.MICROSECOND
    return unexpired if created_after is None else max(created_after, unexpired).astimezone(UTC)


@dataclass(frozen=True)
class PageQuery:
    """The query of a page of a list, newest first.

    `created_after` is inclusive and `created_before` exclusive, so adjacent periods neither overlap
    nor leave a gap. `cursor` continues after the page that returned it. `tier` is `hot`, or
    `archive` for cold interactions; no list has both. A page of long texts ends before `limit`.
    """

    limit: int = 50
    cursor: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    tier: Literal["hot", "archive"] = "hot"

    def slice(self, user_id: str | None, max_text: float = inf) -> Slice:
        """Returns the query for a backend, of one user or, if None, of all users.

        Raises InvalidCursor for a cursor of another query, and ValueError for a limit below 1.
        """
        if self.limit < 1:
            raise ValueError(f"limit must be at least 1, not {self.limit}.")
        before = cursors.decode(self.cursor, self._scope(user_id)) if self.cursor else None
        earliest = earliest_of(self.created_after)
        return Slice(user_id, self.limit, earliest, before, self.created_before, max_text)

    def cursor_after(self, user_id: str | None, last: cursors.Position | None) -> str | None:
        """Returns the cursor of the page after one that ends at `last`; None after the last one."""
        return None if last is None else cursors.encode(last, self._scope(user_id))

    def _scope(self, user_id: str | None) -> cursors.Scope:
        return user_id, str(self.created_after), str(self.created_before), self.tier
