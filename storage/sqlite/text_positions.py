"""Where entries of the search index are.

# Note [Position]

The rowid of an entry is the second of its creation and a number within it, so that FTS5 returns the
newest first, and a period is a range of rowids. Within a second, entries are sorted here.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import groupby

from storage import expiry
from storage.records.cursors import Position
from storage.sqlite import queries

NUMBERS = 1 << 24
"""Entries that one second has room for."""

Entry = tuple[int, str, str]
"""The rowid, when the interaction was created, and its id."""

_SECOND = timedelta(seconds=1)


def first_position(moment: datetime) -> int:
    """The first rowid of a second."""
    return (moment - expiry.BEGINNING) // _SECOND * NUMBERS


def page_of(
    rows: Iterable[Entry], after: datetime, before: Position | None, limit: int
) -> list[Position]:
    """At least `limit` of these, if there are so many: all those of a second, or none."""
    found: list[Position] = []
    for _, of_second in groupby(rows, lambda row: row[0] // NUMBERS):
        if len(found) >= limit:
            break
        positions = [(queries.to_time(created), each) for _, created, each in of_second]
        found += sorted(
            (each for each in positions if each[0] >= after and (not before or each < before)),
            reverse=True,
        )
    return found
