"""Hot and cold in DynamoDB: under an id is an interaction or, in its place, a stub.

One conditional write turns the one into the other, so nobody ever sees neither or both.
"""

from collections.abc import Callable, Iterable, Sequence, Set
from concurrent.futures import FIRST_EXCEPTION, Future, wait
from datetime import datetime
from itertools import islice
from typing import Any, TypeVar

from storage.archive.archive import Archive
from storage.batched import batched
from storage.dynamodb import batches, expressions, items, lists, locks
from storage.dynamodb.client import Client, ConditionFailed
from storage.dynamodb.expressions import condition
from storage.dynamodb.items import Item
from storage.dynamodb.pauses import Pauses
from storage.interface import Storage
from storage.models import ChatInteraction
from storage.records.cursors import Position
from storage.records.json import format_time
from storage.records.stubs import Stub

AT_ONCE = 100
"""Items of one round: as many as one BatchGetItem reads."""

T = TypeVar("T")


class CloudTiers(Storage):
    """The cold side of CloudStorage."""

    index_lag_seconds = 1.0
    holds_accounts = False

    def __init__(self, client: Client, threads: int, archive: Archive) -> None:
        super().__init__(threads, archive)
        self._client = client

    def _item(self, interaction_id: str) -> Item | None:
        """The item as it is at this moment, maybe a stub; it may have expired."""
        answer = self._client.call("GetItem", Key=key_of(interaction_id), ConsistentRead=True)
        return answer.get("Item")

    def _look(self, interaction_id: str) -> ChatInteraction | Stub | None:
        item = self._item(interaction_id)
        if item is None:
            return None
        if stub := items.to_stub(item):
            return stub
        return None if items.has_expired(item) else items.to_interaction(item)

    def _stubs(self, interaction_ids: Sequence[str]) -> dict[str, Stub]:
        found: dict[str, Stub] = {}
        for some in batched(interaction_ids, AT_ONCE):
            stored = batches.read(self._client, some, Pauses())
            for interaction_id, item in stored.items():
                if stub := items.to_stub(item):
                    found[interaction_id] = stub
        return found

    def _oldest(self, until: datetime, limit: int, after: Position | None) -> list[ChatInteraction]:
        pauses = Pauses()
        share = min(limit // items.SHARDS + 8, lists.LARGEST_PAGE)
        entries = lists.oldest(self._client, until, after, share, pauses)
        found: list[ChatInteraction] = []
        while len(found) < limit and (some := list(islice(entries, min(limit, AT_ONCE)))):
            stored = batches.read(self._client, [each.interaction_id for each in some], pauses)
            found += [
                items.to_interaction(item)
                for entry in some
                # The index lags: it may be a stub by now, or another interaction.
                if (item := stored.get(entry.interaction_id))
                and item.get("position") == {"S": entry.position}
            ]
        return found[:limit]

    def _count_oldest(self, until: datetime, at_most: int) -> int:
        return lists.count_oldest(self._client, until, at_most)

    def _move_to_cold(self, interactions: Sequence[ChatInteraction], segment: str) -> int:
        def move(interaction: ChatInteraction, stored: Item | None) -> bool:
            if stored is None or "archived_in" in stored:
                return False
            if items.to_record(stored) != items.to_record(items.to_item(interaction, "")):
                return False
            stub = items.to_stub_item(interaction, segment, items.new_version())
            only_if = condition(expressions.SAME_VERSION, expected=stored["version"]["S"])
            return self._put(stub, only_if)

        return self._in_rounds(move, interactions)

    def _return_from_cold(self, interactions: Sequence[ChatInteraction], segment: str) -> int:
        def bring_back(interaction: ChatInteraction, stored: Item | None) -> bool:
            item = items.to_item(interaction, items.new_version())
            return self._put(item, condition(expressions.STUB_OF, segment=segment))

        return self._in_rounds(bring_back, interactions)

    def _put(self, item: Item, only_if: dict[str, Any]) -> bool:
        """Whether the item is now in its place, by this call; not if the condition forbids it."""
        try:
            self._client.call("PutItem", Item=item, **only_if)
        except ConditionFailed as failure:
            return failure.item is not None and failure.item.get("version") == item["version"]
        return True

    def _adopt(self, interaction: ChatInteraction, segment: str, instead_of: str | None) -> bool:
        stub = items.to_stub_item(interaction, segment, items.new_version())
        only_if = (
            condition(expressions.NOT_THERE)
            if instead_of is None
            else condition(expressions.STUB_OF, segment=instead_of)
        )
        return self._put(stub, only_if)

    def _drop_other_stubs(self, segments: Set[str]) -> int:
        return 0  # they are in no index

    def _drop_stubs(self, interaction_ids: Sequence[str], segment: str) -> int:
        def drop(interaction_id: str) -> bool:
            return self._delete_if(interaction_id, condition(expressions.STUB_OF, segment=segment))

        return self._sum(drop, interaction_ids)

    def _remove_expired_stubs(self, until: datetime, limit: int) -> int:
        return 0  # DynamoDB's TTL deletes them

    def _remove_expired(self, interactions: Sequence[ChatInteraction], until: datetime) -> int:
        return self._remove_if(
            interactions, condition(expressions.CREATED_UNTIL, until=format_time(until))
        )

    def _remove_of_user(self, interactions: Sequence[ChatInteraction], user_id: str) -> int:
        return self._remove_if(interactions, condition(expressions.OF_USER, user_id=user_id))

    def _remove_if(self, interactions: Sequence[ChatInteraction], only_if: dict[str, Any]) -> int:
        def remove(interaction: ChatInteraction) -> bool:
            return self._delete_if(interaction.interaction_id, only_if)

        return self._sum(remove, interactions)

    def _delete_if(self, interaction_id: str, only_if: dict[str, Any]) -> bool:
        try:
            self._client.call("DeleteItem", Key=key_of(interaction_id), **only_if)
        except ConditionFailed as failure:
            return failure.repeated and failure.item is None  # an attempt without answer did it
        return True

    def _scrub(self) -> None:
        """DynamoDB's files are its own; what is deleted is in point-in-time recovery only."""

    def _scrub_seconds(self) -> float:
        return 0.0

    def _describe(self) -> dict[str, str | int]:
        return {"table": self._client.table}  # its size is for `dynamodb_table describe`

    def _reclaim(self) -> int:
        return 0  # DynamoDB bills what is stored

    def _take_lock(self, name: str, owner: str, seconds: float) -> bool:
        return locks.take(self._client, name, owner, seconds)

    def _release_lock(self, name: str, owner: str) -> None:
        locks.release(self._client, name, owner)

    def _in_rounds(
        self,
        do: Callable[[ChatInteraction, Item | None], bool],
        interactions: Sequence[ChatInteraction],
    ) -> int:
        """For how many `do` gives True, called with an interaction and what is stored of it."""
        total = 0
        for some in batched(interactions, AT_ONCE):
            ids = [each.interaction_id for each in some]
            stored = batches.read(self._client, ids, Pauses())
            total += self._sum(do, some, map(stored.get, ids))
        return total

    def _sum(self, do: Callable[..., bool], *arguments: Iterable[Any]) -> int:
        """For how many `do` gives True. When this ends, even by an error, so have all calls.

        Otherwise one could take effect after the run has given its lock back.
        """
        futures = [self._executor.submit(do, *each) for each in zip(*arguments, strict=True)]
        try:
            wait(futures, return_when=FIRST_EXCEPTION)
        finally:
            for future in futures:
                future.cancel()
            wait(futures)
        done = [future for future in futures if not future.cancelled()]
        for failed in filter(Future.exception, done):
            failed.result()
        return sum(future.result() for future in done)


def key_of(interaction_id: str) -> Item:
    """The key of an item."""
    return {"interaction_id": {"S": interaction_id}}
