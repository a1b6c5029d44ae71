"""Reading two storages completely, side by side in one order, with few rows in memory.

Both return hot rows by time and id, except that DynamoDB orders some very long ids of one time by
their hash: see `storage.dynamodb.items.position`. Ids with the same beginning are sorted here.
"""

import hashlib
from collections.abc import Callable, Iterator
from datetime import datetime
from itertools import groupby
from typing import Any, NamedTuple

from chat.maintenance.policy import LATEST
from storage import expiry
from storage.compat import batched
from storage.interface import Storage
from storage.models import ChatInteraction
from storage.records.cursors import SORTED_BY_EVERY_BACKEND, Position
from storage.records.json import to_json

PAGE = 100
"""Rows read at a time: at most 40 MB."""

LARGEST_PAGE = 500
"""Rows read at a time if they are small: it takes fewer requests of DynamoDB."""

SMALL_PAGE = 4 * 1024 * 1024
"""Characters of text in a page to which pages may grow, about."""

Step = Callable[[], None]


class Row(NamedTuple):
    """An interaction in a storage."""

    segment: str
    """The segment of the archive that has it; empty if it is hot."""
    interaction: ChatInteraction
    json: bytes

    @property
    def key(self) -> tuple[str, datetime, str]:
        """Its place in the order of the rows of its tier."""
        return self.segment, self.interaction.created_at, self.interaction.interaction_id

    def __repr__(self) -> str:
        return f"<Row of {self.segment or 'the database'}>"


Pair = tuple[Row | None, Row | None]


def hot_rows(storage: Storage, cutoff: datetime, step: Step) -> Iterator[Row]:
    """Hot rows that have not expired, by time and id."""
    for _, alike in groupby(_hot(storage, cutoff, step), key=_beginning):
        for interaction in sorted(alike, key=lambda row: row.position):
            yield Row("", interaction, to_json(interaction))


def cold_rows(storage: Storage, cutoff: datetime, step: Step) -> Iterator[Row]:
    """Rows of the archive that have a stub and have not expired, by segment, time and id."""
    for day in storage.archive.days():
        if day < cutoff.date():
            continue
        for segment in storage.archive.segments(day):
            for rows in batched(storage.archive.rows(segment), PAGE):
                step()
                stubs = storage.database.stubs([row.interaction_id for row in rows])
                for row in rows:
                    stub = stubs.get(row.interaction_id)
                    if row.created_at > cutoff and stub and stub.segment == segment:
                        yield Row(segment, row, to_json(row))


def pairs(left: Iterator[Row], right: Iterator[Row]) -> Iterator[Pair]:
    """Pairs of rows with the same key, with None where one side has none. Both must be sorted."""
    one, other = next(left, None), next(right, None)
    while one is not None or other is not None:
        if other is None or (one is not None and one.key < other.key):
            yield one, None
            one = next(left, None)
        elif one is None or other.key < one.key:
            yield None, other
            other = next(right, None)
        else:
            yield one, other
            one, other = next(left, None), next(right, None)


class Digest:
    """The number of rows that were read, by tier and day (UTC), and a hash of their JSON.

    The hash is SHA-256 over the lines that an export would have, in the order of `Row.key`.
    """

    def __init__(self) -> None:
        self.rows = 0
        self._days: dict[str, list[Any]] = {}

    def add(self, row: Row | None) -> None:
        """Add the next row of its tier; None is ignored."""
        if row is None:
            return
        self.rows += 1
        day = row.interaction.created_at.date().isoformat()
        key = f"{day} {'cold' if row.segment else 'hot'}"
        found = self._days.setdefault(key, [0, hashlib.sha256()])
        found[0] += 1
        found[1].update(row.json + b"\n")

    def days(self) -> dict[str, str]:
        """The count and the hash by day and tier, such as `2026-10-23 hot`, sorted."""
        return {
            key: f"{count} {digest.hexdigest()}"
            for key, (count, digest) in sorted(self._days.items())
        }

    def sha256(self) -> str:
        """One hash of everything that was read."""
        lines = (f"{key} {value}\n" for key, value in self.days().items())
        return hashlib.sha256("".join(lines).encode()).hexdigest()


def differing(one: dict[str, str], other: dict[str, str]) -> list[str]:
    """The days and tiers in which two digests differ, sorted."""
    return sorted(key for key in one.keys() | other.keys() if one.get(key) != other.get(key))


def _hot(storage: Storage, cutoff: datetime, step: Step) -> Iterator[ChatInteraction]:
    after: Position = (cutoff + expiry.MICROSECOND, "")
    limit = PAGE
    while page := storage.oldest(LATEST, limit, after):
        step()
        yield from page
        after = page[-1].position
        characters = sum(len(each.message) + len(each.response) for each in page)
        limit = SMALL_PAGE * len(page) // max(characters, 1)
        limit = max(PAGE, min(limit, LARGEST_PAGE))


def _beginning(interaction: ChatInteraction) -> Position:
    return interaction.created_at, interaction.interaction_id[:SORTED_BY_EVERY_BACKEND]
