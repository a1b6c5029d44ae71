"""Lists a user's interactions by time through an index, and asks what lists of all users ask."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from storage.dynamodb import items
from storage.dynamodb.client import Client
from storage.dynamodb.expressions import names
from storage.dynamodb.mirror import OfUser
from storage.dynamodb.pauses import Pauses
from storage.exceptions import StorageUnavailable
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


def of_user(client: Client, wanted: Slice, pauses: Pauses) -> Iterator[Entry]:
    """Yields a user's entries of a slice, newest first. Queries DynamoDB only as they are taken.

    `wanted.limit` is the number of entries that are likely to be taken.
    """
    # One more shows whether there are more. The row before, which BETWEEN includes, is another.
    page_size = min(wanted.limit + 1 + (wanted.before is not None), LARGEST_PAGE)
    index, user_id = OfUser.Meta.index_name, str(wanted.user_id)
    query = newest_query(index, "user_id", user_id, wanted, page_size)
    if query is None:
        return
    before = items.position(*wanted.before) if wanted.before else None
    for entry in answers(client, query, pauses):
        if entry.position != before:  # BETWEEN includes it
            yield entry


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
    return answers(client, query, pauses)


def newest_query(
    index: str, hash_key: str, value: str, wanted: Slice, page_size: int
) -> dict[str, Any] | None:
    """Returns the query of a slice under one hash key, newest first; None if nothing can be in it.

    It includes the row before, if there is one in the slice.
    """
    oldest = format_time(wanted.created_after)
    newest = _newest_position(wanted)
    values = {f":{hash_key}": {"S": value}, ":oldest": {"S": oldest}}
    condition = f"#{hash_key} = :{hash_key} AND #position >= :oldest"
    if newest is not None:
        if newest < oldest:
            return None
        condition = f"#{hash_key} = :{hash_key} AND #position BETWEEN :oldest AND :newest"
        values[":newest"] = {"S": newest}
    return {
        "IndexName": index,
        "KeyConditionExpression": condition,
        "ExpressionAttributeNames": names(condition),
        "ExpressionAttributeValues": values,
        "ScanIndexForward": False,
        "Limit": page_size,
    }


def answers(
    client: Client, query: dict[str, Any], pauses: Pauses, answer: dict[str, Any] | None = None
) -> Iterator[Entry]:
    """Yields the entries that a query finds, in as many requests as it takes.

    `answer` is the first one, if it is there already.
    """
    while True:
        if answer is None:
            if pauses.over():
                raise StorageUnavailable("DynamoDB was too slow for the whole list.")
            answer = client.call("Query", **query)
        for item in answer["Items"]:
            yield Entry(item["position"]["S"], item["interaction_id"]["S"])
        if "LastEvaluatedKey" not in answer:
            return
        query = query | {"ExclusiveStartKey": answer["LastEvaluatedKey"]}
        answer = None


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
