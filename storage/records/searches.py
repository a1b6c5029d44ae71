"""A search: a list of interactions, newest first, by more than a user and a period."""

from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Literal

from storage.models import ChatInteraction
from storage.records import cursors
from storage.records.json import Record, from_record

Tier = Literal["all", "hot", "archive"]


@dataclass(frozen=True)
class Search:
    """What is looked for. All that is set must hold.

    `text` is words, each of which must begin a word of the message or the response; case and
    accents do not count. `tokens_min` and `tokens_max`, both inclusive, are about the sum of both
    counts. With tier `all`, hot and cold interactions are in one list. `created_after` is
    inclusive, `created_before` exclusive. `cursor` continues after the page that returned it.
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

    @property
    def scope(self) -> cursors.Scope:
        """What a cursor of this search is bound to."""
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

    def matches(self, record: Record) -> bool:
        """Whether an interaction has all that is asked of it, but for `text`, tier and period."""
        tokens = record["input_tokens"] + record["output_tokens"]
        return (
            self.user_id in (None, record["user_id"])
            and self.model_used in (None, record["model_used"])
            and self.answered in (None, record["response"] != "")
            and (self.tokens_min is None or tokens >= self.tokens_min)
            and (self.tokens_max is None or tokens <= self.tokens_max)
        )


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
