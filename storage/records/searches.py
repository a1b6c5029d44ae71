"""A search: a list of interactions, newest first, by more than a user and a period."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, Literal

from storage import expiry, limits
from storage.exceptions import InvalidSearch, SearchTooWide
from storage.models import ChatInteraction
from storage.records import cursors, words
from storage.records.json import Record, from_record
from storage.records.pages import PAGE_TEXT, Slice, TextsOf, earliest_of, every, never

Tier = Literal["all", "hot", "archive"]

TIERS = ("all", "hot", "archive")

TEXT_MAX = 200
"""Characters of `Search.text`."""

TEXT_RANGE = timedelta(days=31)
"""The longest period in which text is looked for without an index and without a user."""


@dataclass(frozen=True)
class Filters:
    """What an interaction must have besides its user, its time and its tier."""

    model_used: str | None = None
    answered: bool | None = None
    tokens_min: int | None = None
    tokens_max: int | None = None
    phrases: tuple[words.Phrase, ...] = field(default=(), repr=False)

    def __bool__(self) -> bool:
        return self != _NO_FILTERS

    def pass_fields(self, record: Mapping[str, Any]) -> bool:
        """Whether an interaction has all of it, but for the phrases."""
        tokens = record["input_tokens"] + record["output_tokens"]
        return (
            self.model_used in (None, record["model_used"])
            and self.answered in (None, record["response"] != "")
            and (self.tokens_min is None or tokens >= self.tokens_min)
            and (self.tokens_max is None or tokens <= self.tokens_max)
        )

    def pass_texts(self, message: str | bytes, response: str | bytes) -> bool:
        """Whether a message and its response have the phrases, but for texts that are not here."""
        texts = (text for text in (message, response) if isinstance(text, str))
        return not self.phrases or words.have(texts, self.phrases)

    def texts_of(self, wanted: Slice) -> TextsOf:
        """Of which rows a search needs large texts: to look for phrases, or as they are wanted."""

        def texts_of(row: Mapping[str, Any]) -> bool:
            if not self.pass_fields(row):
                return False
            return wanted.texts_of(row) or not self.pass_texts(row["message"], row["response"])

        return texts_of

    def pass_record(self, record: Record) -> bool:
        """Whether an interaction has all of it."""
        return self.pass_fields(record) and self.pass_texts(record["message"], record["response"])


_NO_FILTERS = Filters()


@dataclass(frozen=True)
class Search:
    """What is looked for. All that is set must hold.

    `text` is words, each of which must begin a word of the message or the response; case and
    accents do not count (`storage.records.words`). `tokens_min` and `tokens_max`, both inclusive,
    are about the sum of both counts. With tier `all`, hot and cold interactions are in one list.
    `created_after` is inclusive, `created_before` exclusive. `cursor` continues after the page that
    returned it.

    Without `whole_texts`, large texts are fetched only to look for what of `text` is not in the
    row. Stand-ins, which are bytes and not empty, may be in their place in what is found.
    """

    text: str = field(default="", repr=False)  # texts and users stay out of logs
    user_id: str | None = field(default=None, repr=False)
    model_used: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    tier: Tier = "all"
    answered: bool | None = None
    tokens_min: int | None = None
    tokens_max: int | None = None
    limit: int = 50
    cursor: str | None = None
    whole_texts: bool = True

    @cached_property
    def filters(self) -> Filters:
        """What cannot be told from the keys of an index."""
        phrases = tuple(words.phrases(self.text))
        return Filters(self.model_used, self.answered, self.tokens_min, self.tokens_max, phrases)

    def violations(self) -> dict[str, str]:
        """The fields that no search can have so, each with a sentence that says what is allowed."""
        checks = {
            "text": self._text_violation(),
            "user_id": self.user_id is not None and limits.identifier_violation(self.user_id),
            "model_used": self.model_used is not None and limits.model_violation(self.model_used),
            "tier": self.tier not in TIERS and f"must be one of: {', '.join(TIERS)}.",
            "tokens_min": self.tokens_min is not None and limits.tokens_violation(self.tokens_min),
            "tokens_max": self._tokens_max_violation(),
        }
        return {name: text for name, text in checks.items() if text}

    def slice(self) -> Slice:
        """Returns where this search goes on, one row more than its page has.

        Raises InvalidSearch, InvalidCursor, and ValueError for a limit below 1.
        """
        if self.limit < 1:
            raise ValueError(f"limit must be at least 1, not {self.limit}.")
        if violations := self.violations():
            raise InvalidSearch(violations)
        before = cursors.decode(self.cursor, self._scope) if self.cursor else None
        earliest = earliest_of(self.created_after)
        wanted = every if self.whole_texts else never
        limit, until = self.limit + 1, self.created_before
        return Slice(self.user_id, limit, earliest, before, until, PAGE_TEXT, wanted)

    def require_bounds(self) -> None:
        """Raises SearchTooWide if a text is looked for in all there is."""
        if not self.text or self.user_id is not None:
            return
        earliest = max(self.created_after or expiry.BEGINNING, expiry.cutoff())
        if (self.created_before or datetime.now(UTC)) - earliest > TEXT_RANGE:
            raise SearchTooWide(TEXT_RANGE.days)

    def cursor_at(self, position: cursors.Position) -> str:
        """Returns the cursor of the page after a position."""
        return cursors.encode(position, self._scope)

    @property
    def _scope(self) -> cursors.Scope:
        return (
            "search",
            self.text,
            self.user_id,
            self.model_used,
            str(self.created_after),
            str(self.created_before),
            self.tier,
            str(self.answered),
            str(self.tokens_min),
            str(self.tokens_max),
        )

    def _text_violation(self) -> str | None:
        if len(self.text) > TEXT_MAX:
            return f"must have at most {TEXT_MAX} characters; it has {len(self.text)}."
        if problem := limits.text_violation(self.text):
            return problem
        return "must have a letter or a digit." if self.text and not self.filters.phrases else None

    def _tokens_max_violation(self) -> str | None:
        if self.tokens_max is None:
            return None
        if problem := limits.tokens_violation(self.tokens_max):
            return problem
        if isinstance(self.tokens_min, int) and self.tokens_max < self.tokens_min:
            return "must be at least tokens_min."
        return None


@dataclass(frozen=True)
class SearchPage:
    """What was found, newest first. Cold interactions have `"tier": "archive"` in their records.

    A search does a bounded amount of work for each page, so a page may have fewer records than
    `limit`, or none, and still not be the last one: then `searched_until` says how far it has come,
    and `next_cursor` continues there. On the last page both are None.
    """

    records: list[Record] = field(repr=False)
    next_cursor: str | None
    searched_until: datetime | None

    @cached_property
    def interactions(self) -> list[ChatInteraction]:
        """The records as interactions."""
        return [from_record(record) for record in self.records]
