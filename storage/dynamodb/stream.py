"""The table's stream: what DynamoDB keeps of each change for 24 hours, in shards.

A shard is read in the order of its changes. It ends after some hours, and others go on where it
ended: its children. All changes of an item are in one shard or, after its end, in its children.
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Streams.html
"""

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from storage.dynamodb.client import Client, StreamTrimmed

SPECIFICATION = {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}

TOGETHER = timedelta(seconds=5)
"""A stream that is at most so much younger than its table was made with it."""

PAGE_CHANGES = 250
"""Changes of one page. With DynamoDB's most, 1,000, each worker's memory rose by some 10 MB when it
first read a full page, and stayed there."""

Record = dict[str, Any]
"""A change of an item, as DynamoDB describes it."""


@dataclass(frozen=True)
class Stream:
    """The stream that a table has now."""

    arn: str
    created_at: datetime
    has_everything: bool
    """Whether it began with the table, so that no change was before it."""


@dataclass(frozen=True)
class Shard:
    """A part of a stream. `parent` is the shard that it goes on with, or None."""

    name: str
    parent: str | None


@dataclass(frozen=True)
class Page:
    """Changes in their order. `following` is None at the end of a shard that has ended."""

    records: list[Record]
    following: str | None


def current(client: Client) -> Stream | None:
    """Returns the stream of the table, or None if it has none that tells what is needed."""
    table = client.manage("DescribeTable", TableName=client.table).get("Table", {})
    if not is_on(table) or "LatestStreamArn" not in table:
        return None
    label = table.get("LatestStreamLabel") or table["LatestStreamArn"].rpartition("/")[2]
    created_at = datetime.fromisoformat(label).replace(tzinfo=UTC)
    made_at = table.get("CreationDateTime")
    is_first = made_at is not None and created_at - made_at.astimezone(UTC) <= TOGETHER
    is_restored = "RestoreSummary" in table
    return Stream(table["LatestStreamArn"], created_at, is_first and not is_restored)


def is_on(table: dict[str, Any]) -> bool:
    """Whether a table, as DescribeTable describes it, has a stream with old and new images."""
    found = table.get("StreamSpecification", {})
    return {name: found.get(name) for name in SPECIFICATION} == SPECIFICATION


def shards(client: Client, arn: str) -> list[Shard]:
    """Returns the shards that still have changes, or will have some."""
    found: list[Shard] = []
    parameters = {"StreamArn": arn}
    while True:
        answer = client.read_stream("DescribeStream", **parameters)["StreamDescription"]
        found += [Shard(each["ShardId"], each.get("ParentShardId")) for each in answer["Shards"]]
        if "LastEvaluatedShardId" not in answer:
            return found
        parameters["ExclusiveStartShardId"] = answer["LastEvaluatedShardId"]


def iterator_after(client: Client, arn: str, shard: str, sequence: str) -> str:
    """Returns an iterator of what comes after a change; after none, of all that is left.

    If the change itself is older than 24 hours, what is left may begin before it: see `after`.
    """
    place = {"StreamArn": arn, "ShardId": shard}
    if sequence:
        start = {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": sequence}
        with suppress(StreamTrimmed):
            return str(client.read_stream("GetShardIterator", **place, **start)["ShardIterator"])
    start = {"ShardIteratorType": "TRIM_HORIZON"}
    return str(client.read_stream("GetShardIterator", **place, **start)["ShardIterator"])


def after(sequence: str, records: list[Record]) -> list[Record]:
    """Those of a page that come after a change."""
    if not sequence or not records or int(sequence_of(records[0])) > int(sequence):
        return records
    return [record for record in records if int(sequence_of(record)) > int(sequence)]


def page(client: Client, iterator: str) -> Page:
    """Returns up to PAGE_CHANGES, or 1 MB. Raises IteratorExpired after 15 minutes."""
    answer = client.read_stream("GetRecords", ShardIterator=iterator, Limit=PAGE_CHANGES)
    return Page(answer.get("Records", []), answer.get("NextShardIterator"))


def sequence_of(record: Record) -> str:
    """The number of a change. Later ones of the same shard have higher numbers."""
    return str(record["dynamodb"]["SequenceNumber"])


def time_of(record: Record) -> datetime:
    """When a change was made, rounded down to a second."""
    at: datetime = record["dynamodb"]["ApproximateCreationDateTime"]
    return at.astimezone(UTC)
