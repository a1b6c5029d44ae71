"""Searches: one list of hot and cold interactions, in bounded steps.

The hot part of a page is read first, and then the archive from where the page begins to where that
part ends. So what is archived in between is seen twice, and not never; and the archive is not
opened while the page is newer than all that is in it.
"""

import heapq
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TypeGuard

from storage.archive.cold import ColdStorage
from storage.compat import batched
from storage.database import LAST_MOMENT
from storage.records.cursors import Position
from storage.records.json import Record, position_of
from storage.records.pages import Slice, every, never
from storage.records.searches import Filters, Search, SearchPage, Tier
from storage.records.texts import OBJECT

SECONDS = 1.0
"""How long a page looks among the hot interactions, and then among the cold ones."""

COLD_AT_MOST = 2_000
"""Cold interactions that are examined for a page."""

CANDIDATES = 500
"""Interactions that an index of words names at once, at most."""

SPARE_CANDIDATES = 5
"""How many more than a page has room for it names at first: mostly they are enough."""

CANDIDATES_AT_ONCE = 26
"""Of these, how many are read between two looks at the clock: a page of 50, and what tells that
there are more, takes two."""

Found = tuple[list[Record], Position | None]
"""Records, newest first, and how far the search has come; None if nothing is left."""


def search(cold: ColdStorage, wanted: Search) -> SearchPage:
    """See `Storage.search_interactions_sync`."""
    part, filters = wanted.slice(), wanted.filters
    found = _by_words(cold, wanted.tier, part, filters) if filters.phrases else None
    if found is None:
        wanted.require_bounds()
        found = _going_through(cold, wanted.tier, part, filters)
    records, last = found
    kept, more = replace(part, limit=wanted.limit).cut(records)
    end = position_of(kept[-1]) if more else last
    if end is None:
        return SearchPage(kept, None, None)
    return SearchPage(kept, wanted.cursor_at(end), end[0])


def _going_through(cold: ColdStorage, tier: Tier, wanted: Slice, filters: Filters) -> Found:
    """Look at one interaction after another."""
    hot: list[Record] = []
    hot_end: Position | None = None
    database = cold.database
    if tier != "archive":
        deadline = time.monotonic() + SECONDS
        hot, hot_end = database.search(wanted, filters, database.examined_at_most, deadline)
    if tier == "hot":
        return hot, hot_end
    # Behind the end of the hot part, the archive is not wanted yet.
    rest = wanted if hot_end is None else replace(wanted, created_after=hot_end[0])
    deadline = time.monotonic() + SECONDS
    archived, cold_end = cold.search(rest, filters, COLD_AT_MOST, deadline)
    if tier == "archive":
        return [record for record in archived if "tier" in record], cold_end
    return _merged(hot, hot_end, archived, cold_end)


def _merged(
    hot: list[Record], hot_end: Position | None, cold: list[Record], cold_end: Position | None
) -> Found:
    """Both tiers as far as both were searched. What has just moved is in both."""
    if hot_end is not None and (cold_end is None or hot_end >= cold_end):
        end: Position | None = hot_end
        cold = _until(cold, hot_end)
    elif cold_end is not None:
        end = cold_end
        hot = _until(hot, cold_end)
    else:
        end = None
    seen = {record["interaction_id"] for record in hot}
    new = [record for record in cold if record["interaction_id"] not in seen]
    return list(heapq.merge(hot, new, key=position_of, reverse=True)), end


def _until(records: Iterable[Record], end: Position) -> list[Record]:
    return [record for record in records if position_of(record) >= end]


def _by_words(cold: ColdStorage, tier: Tier, wanted: Slice, filters: Filters) -> Found | None:
    """Look at what an index of words names. None if there is no index."""
    bounds = [wanted.before, wanted.created_before and (wanted.created_before, "")]
    before = min((bound for bound in bounds if bound), default=None)
    after, end = wanted.created_after, None
    found: list[Record] = []
    deadline = time.monotonic() + SECONDS
    text = wanted.max_text
    count = min(wanted.limit + SPARE_CANDIDATES, CANDIDATES)
    while True:
        candidates = cold.database.find_text(filters.phrases, wanted.user_id, after, before, count)
        if candidates is None:
            return (found, end) if end else None
        for batch in batched(candidates, CANDIDATES_AT_ONCE):
            for record in _verified(cold, batch, tier, wanted, filters):
                found.append(record)
                text -= len(record["message"]) + len(record["response"])
                if len(found) == wanted.limit or text <= 0:
                    return found, position_of(record)
            if time.monotonic() > deadline and batch[-1] != candidates[-1]:
                return found, batch[-1]
        if len(candidates) < count:
            return found, None
        end = candidates[-1]
        if time.monotonic() > deadline:
            return found, end
        count = CANDIDATES
        after, before = _bounds_of(tier, cold, after, end)


def _bounds_of(
    tier: Tier, cold: ColdStorage, after: datetime, before: Position
) -> tuple[datetime, Position]:
    """The same bounds, or closer ones within which all of a tier is. An index does not tell tiers.

    Without them a search would go through all that has its words in the other tier.
    """
    if tier == "archive":
        return after, min(before, cold.newest())
    if tier == "hot":
        oldest = cold.database.oldest(LAST_MOMENT, 1, None, never)
        return max(after, oldest[0].created_at if oldest else LAST_MOMENT), before
    return after, before


def _verified(
    cold: ColdStorage, candidates: Sequence[Position], tier: Tier, wanted: Slice, filters: Filters
) -> Iterator[Record]:
    """Those that are as the index says, and pass: the interaction itself decides.

    Large texts are fetched one after another, as their turn comes, if they are needed.
    """
    is_needed = filters.texts_of(wanted)
    tiers = {"all": (True, False), "hot": (False,), "archive": (True,)}[tier]
    read = cold.read_hot if tier == "hot" else cold.read_many

    def is_it(record: Record | None, candidate: Position) -> TypeGuard[Record]:
        return (
            record is not None
            and position_of(record) == candidate
            and wanted.user_id in (None, record["user_id"])
            and ("tier" in record) in tiers
            and filters.pass_fields(record)
        )

    stored = read([interaction_id for _, interaction_id in candidates], never)
    for candidate in candidates:
        record = stored.get(candidate[1])
        if is_it(record, candidate) and OBJECT in record and is_needed(record):
            record = read([candidate[1]], every).get(candidate[1])
        if is_it(record, candidate) and filters.pass_record(record):
            yield record
