"""Searches: in bounded steps through the hot interactions and the archive."""

from datetime import datetime

from storage import expiry
from storage.archive.cold import ColdStorage
from storage.records import cursors
from storage.records.json import Record, from_record
from storage.records.pages import PAGE_TEXT, Slice
from storage.records.searches import Search, SearchPage

EXAMINED_AT_ONCE = 200

EXAMINED_AT_MOST = 2_000
"""Interactions read for one page."""


def search(cold: ColdStorage, wanted: Search) -> SearchPage:
    """See `Storage.search_interactions_sync`."""
    if wanted.limit < 1:
        raise ValueError(f"limit must be at least 1, not {wanted.limit}.")
    before = cursors.decode(wanted.cursor, wanted.scope) if wanted.cursor else None
    unexpired = expiry.cutoff() + expiry.MICROSECOND
    earliest = max(wanted.created_after or unexpired, unexpired)
    found: list[Record] = []
    examined = 0
    while examined < EXAMINED_AT_MOST:
        part = Slice(
            wanted.user_id, EXAMINED_AT_ONCE, earliest, before, wanted.created_before, PAGE_TEXT
        )
        if wanted.tier == "archive":
            records, last = cold.page(part)
        else:
            records, more = cold.database.newest(part)
            last = from_record(records[-1]).position if more else None
        for record in records:
            if wanted.matches(record):
                found.append(record)
            if len(found) == wanted.limit:
                return _page(wanted, found, from_record(record).position)
        if last is None:
            return SearchPage(found, None, None)
        examined += len(records)
        before = last
    assert before is not None
    return _page(wanted, found, before)


def _page(wanted: Search, found: list[Record], last: tuple[datetime, str]) -> SearchPage:
    return SearchPage(found, cursors.encode(last, wanted.scope), last[0])
