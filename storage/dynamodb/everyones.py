"""Lists everyone's interactions by time, through the shards of the index `newest`."""

import heapq
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, wait
from datetime import datetime
from itertools import islice
from typing import Any

from storage.dynamodb import batches, items
from storage.dynamodb.client import Client
from storage.dynamodb.expressions import names
from storage.dynamodb.lists import LARGEST_PAGE, Entry, answers, newest_query
from storage.dynamodb.mirror import Newest
from storage.dynamodb.pauses import Pauses
from storage.exceptions import StorageUnavailable
from storage.models import ChatInteraction
from storage.records.cursors import Position
from storage.records.json import format_time
from storage.records.pages import Slice

Query = dict[str, Any]


class Everyones:
    """The index of everyone's interactions, as lists see it that begin now.

    The first requests to the shards are made side by side, in the threads of `executor`.
    """

    def __init__(self, client: Client, shards: int, executor: Executor) -> None:
        self._client = client
        self._shards = range(shards)
        self._executor = executor

    def newest(self, wanted: Slice, pauses: Pauses) -> Iterator[Entry]:
        """Yields the entries of a slice, newest first. Queries DynamoDB only as they are taken."""
        index, share = Newest.Meta.index_name, self._share(wanted.limit)
        queries = [
            newest_query(index, "shard", str(shard), wanted, share) for shard in self._shards
        ]
        before = items.position(*wanted.before) if wanted.before else None
        for entry in self._merged([query for query in queries if query], pauses, newest=True):
            if entry.position != before:  # BETWEEN includes it
                yield entry

    def oldest_interactions(
        self, until: datetime, limit: int, after: Position | None
    ) -> list[ChatInteraction]:
        """Up to `limit` interactions created by `until`, oldest first, that follow `after`."""
        pauses = Pauses()
        limits = {"Limit": self._share(limit)}
        queries = [_oldest_query(shard, until, after) | limits for shard in self._shards]
        begin = items.position(*after) if after else None
        merged = self._merged(queries, pauses)
        entries = (entry for entry in merged if entry.position != begin)
        found: list[ChatInteraction] = []
        while len(found) < limit and (
            page := list(islice(entries, min(limit, batches.READ_LIMIT)))
        ):
            stored = batches.read(self._client, [entry.interaction_id for entry in page], pauses)
            found += [
                items.to_interaction(item)
                for entry in page
                # The index lags: the id may now be a stub's, or another interaction's.
                if (item := stored.get(entry.interaction_id))
                and item.get("position") == {"S": entry.position}
            ]
        return found[:limit]

    def count_oldest(self, until: datetime, at_most: int) -> int:
        """Counts all users' entries created at or before `until`; stops at `at_most`.

        Returns a smaller number if DynamoDB is too slow to count them all.
        """
        total = 0
        pauses = Pauses()
        for shard in self._shards:
            query = _oldest_query(shard, until, None) | {"Select": "COUNT"}
            while total < at_most:
                if pauses.over():
                    return total
                answer = self._client.call("Query", **query, Limit=at_most - total)
                total += answer["Count"]
                if "LastEvaluatedKey" not in answer:
                    break
                query["ExclusiveStartKey"] = answer["LastEvaluatedKey"]
        return total

    def _share(self, limit: int) -> int:
        """An equal share of each shard and a few more: ids are spread over them at random."""
        return min(limit // len(self._shards) + 8, LARGEST_PAGE)

    def _merged(
        self, queries: Sequence[Query], pauses: Pauses, *, newest: bool = False
    ) -> Iterator[Entry]:
        if pauses.over():
            raise StorageUnavailable("DynamoDB was too slow for the whole list.")
        first = [self._executor.submit(self._client.call, "Query", **query) for query in queries]
        # If one fails, none may go on in the background: its failure would count later.
        wait(first)
        found = [
            answers(self._client, query, pauses, future.result())
            for query, future in zip(queries, first, strict=True)
        ]
        return _without_repeats(heapq.merge(*found, reverse=newest))


def _without_repeats(entries: Iterable[Entry]) -> Iterator[Entry]:
    """One that was deleted and made again after a raise may be in two shards while they lag."""
    previous = None
    for entry in entries:
        if entry != previous:
            yield entry
        previous = entry


def _oldest_query(shard: int, until: datetime, after: Position | None) -> Query:
    condition = "#shard = :shard AND #position BETWEEN :after AND :until"
    return {
        "IndexName": Newest.Meta.index_name,
        "KeyConditionExpression": condition,
        "ExpressionAttributeNames": names(condition),
        "ExpressionAttributeValues": {
            ":shard": {"S": str(shard)},
            # BETWEEN includes it. What sorts directly after it may be longer than a key can be.
            ":after": {"S": items.position(*after) if after else "0"},
            # '$' sorts directly after '#', which separates time and id.
            ":until": {"S": format_time(until) + "$"},
        },
    }
