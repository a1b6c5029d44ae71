"""Counting a day again while others write: what has changed of it meanwhile is in the stream."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime

from django.db import transaction

from storage.database import Before, Overtaken
from storage.dynamodb import items, stream, usage_rows
from storage.dynamodb.client import Client
from storage.dynamodb.stream import Record, Shard, Stream
from storage.dynamodb.usage import EMPTY_PAGES, EMPTY_PAGES_AT_FIRST, is_near_end
from storage.dynamodb.usage_changes import RESERVED
from storage.dynamodb.usage_rows import ALIAS, Positions
from storage.exceptions import StorageUnavailable
from storage.models import ChatInteraction, StreamPosition
from storage.records.stubs import Stub
from storage.sql.errors import translated

FOLLOW_SECONDS = 60.0
"""How long what is in the stream may be counted before a day is."""


@contextmanager
def snapshot(
    client: Client, day: date, follow: Callable[[], object], lag: float
) -> Iterator[Callable[[], Before]]:
    """See `Database.snapshot`. `follow` counts what is in the stream until now."""
    current = stream.current(client)
    if current is None:
        raise StorageUnavailable(
            f"The table {client.table} has no stream, so its usage cannot be counted. Turn it on: "
            "manage.py dynamodb_table create"
        )
    follow()
    with translated:
        positions = usage_rows.positions(current.arn)
    if not positions:
        positions = _start_again(client, current)
    time.sleep(lag)  # until lists show what is in the stream
    yield lambda: _changed(client, current, day, positions, lag)


def _start_again(client: Client, current: Stream) -> Positions:
    """Follow from now on. What is in the stream by now will be counted with the rows."""
    begun = datetime.now(UTC)
    rows: dict[str, StreamPosition] = {}
    for part in _read_on(client, current.arn, {}):
        sequence = stream.sequence_of(part.records[-1]) if part.records else ""
        row = rows.setdefault(
            part.shard,
            StreamPosition(stream=current.arn, shard=part.shard, counted_until=begun),
        )
        row.sequence, row.is_closed = sequence or row.sequence, part.is_last
    with translated:
        usage_rows.start_again(rows.values())
        return usage_rows.positions(current.arn)


def _changed(client: Client, current: Stream, day: date, since: Positions, lag: float) -> Before:
    time.sleep(lag)  # until the stream shows what lists did
    with translated, transaction.atomic(ALIAS):
        counted = usage_rows.positions(current.arn)
    before: dict[str, ChatInteraction | Stub | None] = {}
    for part in _read_on(client, current.arn, since):
        for record in part.records:
            if not _concerns(record, day):
                continue
            row = counted.get(part.shard)
            if row is None or row.is_closed or _is_behind(record, row):
                raise Overtaken
            old = record["dynamodb"].get("OldImage")
            before.setdefault(record["dynamodb"]["Keys"]["interaction_id"]["S"], _was(old, day))
    return before


def _is_behind(record: Record, row: StreamPosition) -> bool:
    """Whether another process has counted this change, before or after the roll-ups were read."""
    return bool(row.sequence) and int(stream.sequence_of(record)) <= int(row.sequence)


def _concerns(record: Record, day: date) -> bool:
    return any(_is_of(record["dynamodb"].get(image), day) for image in ("OldImage", "NewImage"))


def _is_of(item: items.Item | None, day: date) -> bool:
    return (
        item is not None
        and not item["interaction_id"]["S"].startswith(RESERVED)
        and not {"archived_in", "user_id"}.isdisjoint(item)
        and items.created_at(item)[:10] == day.isoformat()
    )


def _was(item: items.Item | None, day: date) -> ChatInteraction | Stub | None:
    if item is None or not _is_of(item, day):
        return None
    return items.to_stub(item) or items.to_interaction(item)


@dataclass(frozen=True)
class _Part:
    """What a page has. `is_last`: the shard has ended with it."""

    shard: str
    records: list[Record]
    is_last: bool


def _read_on(client: Client, arn: str, since: Positions) -> Iterator[_Part]:
    """All that the stream has behind these positions, parents before their children."""
    shards = {shard.name: shard for shard in stream.shards(client, arn)}
    for name in sorted(shards, key=lambda name: _depth(name, shards)):
        position = since.get(name)
        if position is None or not position.is_closed:
            yield from _rest(client, arn, name, "" if position is None else position.sequence)


def _depth(name: str, shards: Mapping[str, Shard]) -> int:
    parent = shards[name].parent
    return 0 if parent is None or parent not in shards else 1 + _depth(parent, shards)


def _rest(client: Client, arn: str, shard: str, sequence: str) -> Iterator[_Part]:
    iterator: str | None = stream.iterator_after(client, arn, shard, sequence)
    empty, empty_at_end = 0, EMPTY_PAGES_AT_FIRST
    while iterator is not None and empty < empty_at_end:
        asked_at = datetime.now(UTC)
        page = stream.page(client, iterator)
        records = stream.after(sequence, page.records)
        empty = 0 if records else empty + 1
        if is_near_end(records, asked_at):
            empty_at_end = EMPTY_PAGES
        iterator = page.following
        yield _Part(shard, records, iterator is None)
