"""Finding interactions in the order of lists, newest first, through the indexes."""

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
"""Entries in one answer; a list takes as many answers as it needs."""


class Entry(NamedTuple):
    """An entry of an index."""

    position: str
    interaction_id: str


def entries(client: Client, wanted: Slice, pauses: Pauses) -> Iterator[Entry]:
    """The entries of a slice, newest first. Asks DynamoDB for more only as they are taken.

    `wanted.limit` is how many are likely to be taken.
    """
    if wanted.user_id is not None:
        index = OfUser.Meta.index_name
        # One more tells that there is more; and another is the row before, which comes along.
        page_size = min(wanted.limit + 1 + (wanted.before is not None), LARGEST_PAGE)
        yield from _query(client, index, "user_id", wanted.user_id, wanted, page_size, pauses)
        return
    # An even share of each shard and a little more, since shards are filled at random.
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
    """Up to `limit` interactions created at or before `until`, oldest first, behind `after`."""
    pauses = Pauses()
    share = min(limit // items.SHARDS + 8, LARGEST_PAGE)
    entries = _oldest(client, until, after, share, pauses)
    found: list[ChatInteraction] = []
    while len(found) < limit and (page := list(islice(entries, min(limit, batches.READ_LIMIT)))):
        stored = batches.read(client, [entry.interaction_id for entry in page], pauses)
        found += [
            items.to_interaction(item)
            for entry in page
            # The index lags: it may be a stub by now, or another interaction.
            if (item := stored.get(entry.interaction_id))
            and item.get("position") == {"S": entry.position}
        ]
    return found[:limit]


def _oldest(
    client: Client, until: datetime, after: Position | None, share: int, pauses: Pauses
) -> Iterator[Entry]:
    """The entries of everyone created at or before `until`, oldest first, behind `after`.

    `share` is how many are asked of each shard at a time.
    """
    return heapq.merge(
        *(
            _answers(client, _oldest_query(shard, until, after) | {"Limit": share}, pauses)
            for shard in range(items.SHARDS)
        )
    )


def count_oldest(client: Client, until: datetime, at_most: int) -> int:
    """How many entries there are of everyone created at or before `until`, up to `at_most`.

    If DynamoDB is too slow for that, those that could be counted.
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
            # No position has a NUL, so what is behind it is behind the position.
            ":after": {"S": items.position(*after) + "\0" if after else "0"},
            # '$' comes next to '#', which parts time and id.
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
    """The entries that a query finds, in as many answers as it takes."""
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
    """The greatest position that can be in the slice, or None for any.

    No position is equal to a time alone, so `created_before` is left out as it should be.
    """
    bounds = []
    if wanted.before is not None:
        bounds.append(items.position(*wanted.before))
    if wanted.created_before is not None:
        bounds.append(format_time(wanted.created_before))
    return min(bounds, default=None)
