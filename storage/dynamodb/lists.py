"""Lists interactions by time through the indexes, newest or oldest first."""

import heapq
from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from typing import Any, NamedTuple

from storage.dynamodb import batches, items
from storage.dynamodb.client import Client
from storage.dynamodb.expressions import names
from storage.dynamodb.mirror import Newest, OfUser
from storage.dynamodb.pauses import Pauses
from storage.exceptions import StorageUnavailable
from storage.models import ChatInteraction
from storage.records.cursors import Position
from storage.records.json import format_time
from storage.records.pages import Slice

LARGEST_PAGE = 1000
"""The most entries in one response. A list takes as many responses as it needs."""

NEWER_AT_ONCE = 4
"""Entries of `newer` in one response. One is wanted, but it may have been deleted."""


class Entry(NamedTuple):
    """An entry of an index."""

    position: str
    interaction_id: str


def entries(client: Client, wanted: Slice, pauses: Pauses) -> Iterator[Entry]:
    """Yields the entries of a slice, newest first. Queries DynamoDB only as they are taken.

    `wanted.limit` is the number of entries that are likely to be taken.
    """
    if wanted.user_id is not None:
        index = OfUser.Meta.index_name
        # One more shows whether there are more. The row before, which BETWEEN includes, is another.
        page_size = min(wanted.limit + 1 + (wanted.before is not None), LARGEST_PAGE)
        yield from _query(client, index, "user_id", wanted.user_id, wanted, page_size, pauses)
        return
    # An equal share of each shard and a few more, since ids are spread over shards at random.
    share = min(wanted.limit // items.SHARDS + 8, LARGEST_PAGE)
    yield from heapq.merge(
        *(
            _query(client, Newest.Meta.index_name, "shard", str(shard), wanted, share, pauses)
            for shard in range(items.SHARDS)
        ),
        reverse=True,
    )


def oldest_interactions(
    client: Client, until: datetime, limit: int, after: Position | None
) -> list[ChatInteraction]:
    """Returns up to `limit` interactions created by `until`, oldest first, that follow `after`.

    They may have stand-ins.
    """
    pauses = Pauses()
    share = min(limit // items.SHARDS + 8, LARGEST_PAGE)
    entries = _oldest(client, until, after, share, pauses)
    found: list[ChatInteraction] = []
    while len(found) < limit and (page := list(islice(entries, min(limit, batches.READ_LIMIT)))):
        stored = batches.read(client, [entry.interaction_id for entry in page], pauses)
        found += [
            items.to_interaction(item)
            for entry in page
            # The index lags: the id may now be a stub's, or another interaction's.
            if (item := stored.get(entry.interaction_id))
            and item.get("position") == {"S": entry.position}
        ]
    return found[:limit]


def newer(client: Client, user_id: str, after: Position, pauses: Pauses) -> Iterator[Entry]:
    """Yields the entries of a user that follow `after` and have not expired, oldest first."""
    condition = "#user_id = :user_id AND #position > :after"
    query = {
        "IndexName": OfUser.Meta.index_name,
        "KeyConditionExpression": condition,
        "ExpressionAttributeNames": names(condition),
        "ExpressionAttributeValues": {
            ":user_id": {"S": user_id},
            # '$' sorts directly after '#', which separates time and id.
            ":after": {"S": max(items.position(*after), items.cutoff() + "$")},
        },
        "Limit": NEWER_AT_ONCE,
    }
    return _answers(client, query, pauses)


def _oldest(
    client: Client, until: datetime, after: Position | None, share: int, pauses: Pauses
) -> Iterator[Entry]:
    """Yields all users' entries created at or before `until`, oldest first, after `after`.

    `share` is the number of entries in one response of a shard.
    """
    return heapq.merge(
        *(
            _answers(client, _oldest_query(shard, until, after) | {"Limit": share}, pauses)
            for shard in range(items.SHARDS)
        )
    )


def count_oldest(client: Client, until: datetime, at_most: int) -> int:
    """Counts all users' entries created at or before `until`; stops at `at_most`.

    Returns a smaller number if DynamoDB is too slow to count them all.
    """
    total = 0
    pauses = Pauses()
    for shard in range(items.SHARDS):
        query = _oldest_query(shard, until, None) | {"Select": "COUNT"}
        while total < at_most:
            if pauses.over():
                return total
            answer = client.call("Query", **query, Limit=at_most - total)
            total += answer["Count"]
            if "LastEvaluatedKey" not in answer:
                break
            query["ExclusiveStartKey"] = answer["LastEvaluatedKey"]
    return total


def _oldest_query(shard: int, until: datetime, after: Position | None) -> dict[str, Any]:
    condition = "#shard = :shard AND #position BETWEEN :after AND :until"
    return {
        "IndexName": Newest.Meta.index_name,
        "KeyConditionExpression": condition,
        "ExpressionAttributeNames": names(condition),
        "ExpressionAttributeValues": {
            ":shard": {"S": str(shard)},
            # No position contains NUL, so this sorts directly after the position.
            ":after": {"S": items.position(*after) + "\0" if after else "0"},
            # '$' sorts directly after '#', which separates time and id.
            ":until": {"S": format_time(until) + "$"},
        },
    }


def _query(
    client: Client,
    index: str,
    hash_key: str,
    value: str,
    wanted: Slice,
    page_size: int,
    pauses: Pauses,
) -> Iterator[Entry]:
    oldest = format_time(wanted.created_after)
    newest = _newest_position(wanted)
    values = {f":{hash_key}": {"S": value}, ":oldest": {"S": oldest}}
    condition = f"#{hash_key} = :{hash_key} AND #position >= :oldest"
    if newest is not None:
        if newest < oldest:
            return
        condition = f"#{hash_key} = :{hash_key} AND #position BETWEEN :oldest AND :newest"
        values[":newest"] = {"S": newest}
    before = items.position(*wanted.before) if wanted.before else None
    parameters: dict[str, Any] = {
        "IndexName": index,
        "KeyConditionExpression": condition,
        "ExpressionAttributeNames": names(condition),
        "ExpressionAttributeValues": values,
        "ScanIndexForward": False,
        "Limit": page_size,
    }
    for entry in _answers(client, parameters, pauses):
        if entry.position != before:  # BETWEEN includes it
            yield entry


def _answers(client: Client, parameters: dict[str, Any], pauses: Pauses) -> Iterator[Entry]:
    """Yields the entries that a query finds, in as many requests as it takes."""
    while True:
        if pauses.over():
            raise StorageUnavailable("DynamoDB was too slow for the whole list.")
        answer = client.call("Query", **parameters)
        for item in answer["Items"]:
            yield Entry(item["position"]["S"], item["interaction_id"]["S"])
        if "LastEvaluatedKey" not in answer:
            return
        parameters["ExclusiveStartKey"] = answer["LastEvaluatedKey"]


def _newest_position(wanted: Slice) -> str | None:
    """Returns the greatest position that can be in the slice, or None without a bound.

    A position is longer than a time, so none equals `created_before`, which is excluded as it
    should be.
    """
    bounds = []
    if wanted.before is not None:
        bounds.append(items.position(*wanted.before))
    if wanted.created_before is not None:
        bounds.append(format_time(wanted.created_before))
    return min(bounds, default=None)
