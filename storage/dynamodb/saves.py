"""Saves interactions in DynamoDB: replaces one, creates one, or creates many."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from datetime import datetime

from storage.dynamodb import batches, expressions, items, writes
from storage.dynamodb.client import Client, ConditionFailed, sent_once
from storage.dynamodb.expressions import condition
from storage.dynamodb.items import Item, key_of
from storage.dynamodb.pauses import Pauses
from storage.exceptions import (
    BatchUnfinished,
    InteractionArchived,
    InteractionConflict,
    StorageUnavailable,
)
from storage.large.stand_ins import Kept
from storage.models import ChatInteraction
from storage.records.outcomes import Outcome
from storage.records.stubs import Stub
from storage.records.texts import OBJECT


def upsert(
    client: Client, interaction: ChatInteraction, shards: int, attempts: int = 3
) -> list[Kept]:
    """See `Database.save`. A new one goes to one of `shards`.

    Returns the object of what was replaced, if it had one.
    """
    item = items.to_item(interaction, items.new_version(), shards)
    changes = {name: value for name, value in item.items() if name != "interaction_id"}
    only_if = condition(expressions.REPLACEABLE, user_id=interaction.user_id)
    if "answer" in item:
        only_if = condition(expressions.REPLACEABLE_IN_PLACE, user_id=interaction.user_id)
    try:
        with sent_once(OBJECT in item):
            answer = client.call(
                "UpdateItem",
                Key=key_of(interaction.interaction_id),
                ReturnValues="ALL_OLD",
                **expressions.update(changes, only_if),
            )
        replaced = before = answer.get("Attributes")
    except ConditionFailed as failure:
        replaced = failure.item if writes.is_own(failure.item, item) else None
        before = None  # unknown, if it is our own
        if replaced is None and writes.is_older_self(failure.item, item) and attempts > 1:
            interaction.created_at = datetime.fromisoformat(items.created_at(failure.item))
            return upsert(client, interaction, shards, attempts - 1)
        if replaced is None and not _replaced_expired(client, item, failure):
            if attempts == 1:
                raise writes.contended() from failure
            return upsert(client, interaction, shards, attempts - 1)
    interaction.created_at = datetime.fromisoformat(items.created_at(replaced or item))
    return items.large_texts_of(before)


def _replaced_expired(client: Client, item: Item, failure: ConditionFailed) -> bool:
    """Put `item` if the stored one has expired. Returns whether it was put."""
    if failure.item is not None and not items.has_expired(failure.item):
        kind = InteractionArchived if items.to_stub(failure.item) else InteractionConflict
        raise kind(item["interaction_id"]["S"])
    return put_or_find(client, item)[1]


def put_or_find(client: Client, item: Item) -> tuple[Item, bool]:
    """Write a new item if its id is free. Returns the stored item, and whether it is this one."""
    try:
        with sent_once(OBJECT in item):
            client.call("PutItem", Item=item, **condition(expressions.FREE))
    except ConditionFailed as failure:
        if failure.item is None:
            raise writes.contended() from failure
        return failure.item, writes.is_own(failure.item, item)
    return item, True


def create_many(
    client: Client, interactions: Sequence[ChatInteraction], shards: int, executor: Executor
) -> list[Outcome | Stub]:
    """See `Database.create_many`. New ones go to `shards`."""
    stored: dict[str, Item] = {}
    for item in items.to_items(interactions, shards):
        stored.setdefault(item["interaction_id"]["S"], item)
    pauses = Pauses()
    taken = batches.insert(client, list(stored.values()), pauses.deadline, executor)
    if not taken and len(stored) == len(interactions):  # as nearly always
        return [Outcome.CREATED] * len(interactions)
    created = stored.keys() - taken
    unsettled = set(taken)
    try:
        for interaction_id, found in _find_or_put(client, stored, taken, pauses):
            if writes.is_own(found, stored[interaction_id]):
                created.add(interaction_id)
            stored[interaction_id] = found
            unsettled.remove(interaction_id)
    except StorageUnavailable as error:
        raise BatchUnfinished(sorted(unsettled)) from error
    return [writes.outcome(interaction, stored, created) for interaction in interactions]


def _find_or_put(
    client: Client, new: Mapping[str, Item], taken: set[str], pauses: Pauses
) -> Iterator[tuple[str, Item]]:
    """Yields what is stored under the ids that were taken. Some may have become free since."""
    found = batches.read(client, list(taken), pauses)
    for interaction_id in taken:
        item = found.get(interaction_id)
        if item is None or items.has_expired(item):
            if pauses.over():
                raise StorageUnavailable("DynamoDB was too slow for the whole batch.")
            item, _ = put_or_find(client, new[interaction_id])
        yield interaction_id, item
