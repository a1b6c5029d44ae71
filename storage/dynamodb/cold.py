"""Tier transitions in DynamoDB. An id has the item of an interaction or, in its place, of a stub.

One conditional write replaces the one by the other, so no reader sees neither or both.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from storage.compat import batched
from storage.database import Named
from storage.dynamodb import batches, expressions, items
from storage.dynamodb.client import Client, ConditionFailed, sent_once
from storage.dynamodb.expressions import condition, names
from storage.dynamodb.items import Item
from storage.dynamodb.pauses import Pauses
from storage.dynamodb.rounds import AT_ONCE, Rounds
from storage.large.rows import LargeRows
from storage.large.stand_ins import Kept, same_record
from storage.models import ChatInteraction
from storage.records.json import to_record
from storage.records.stubs import Segments, Stub, segment_of
from storage.records.texts import OBJECT, TextObject


def stubs(client: Client, interaction_ids: Sequence[str]) -> dict[str, Stub]:
    """Returns the stubs of these ids, by id."""
    found: dict[str, Stub] = {}
    for ids in batched(interaction_ids, AT_ONCE):
        for interaction_id, item in batches.read(client, ids, Pauses()).items():
            if stub := items.to_stub(item):
                found[interaction_id] = stub
    return found


def look_at(client: Client, interaction_ids: Sequence[str]) -> dict[str, ChatInteraction | Stub]:
    """See `Database.look_at`. The interactions may have stand-ins."""
    found: dict[str, ChatInteraction | Stub] = {}
    for interaction_id, item in batches.read(client, interaction_ids, Pauses()).items():
        if stub := items.to_stub(item):
            found[interaction_id] = stub
        elif not items.has_expired(item):
            found[interaction_id] = items.to_interaction(item)
    return found


def all_stubs(client: Client) -> Iterator[Stub]:
    """All stubs. They are in no index, so this reads the whole table, 1 MB per request."""
    found = _scan(client, "#archived_in", "#interaction_id, #created_at, #archived_in")
    return (stub for item in found if (stub := items.to_stub(item)))


def all_text_objects(client: Client) -> Iterator[Named]:
    """See `Database.all_text_objects`. Reads the whole table, too."""
    found = _scan(client, "#text_object", "#interaction_id, #user_id, #text_object")
    for item in found:
        for user_id, row_id, reference in items.large_texts_of(item):
            yield user_id, row_id, TextObject.loads(reference)


def users(client: Client) -> Iterator[str]:
    """The users of all interactions and of all idempotency keys. Reads the whole table, too."""
    return (item["user_id"]["S"] for item in _scan(client, "#user_id", "#user_id"))


def _scan(client: Client, having: str, columns: str) -> Iterator[Item]:
    """These columns of all items that have an attribute."""
    parameters: dict[str, Any] = {
        "FilterExpression": f"attribute_exists({having})",
        "ProjectionExpression": columns,
        "ExpressionAttributeNames": names(columns),
        "ConsistentRead": True,
    }
    while True:
        answer = client.call("Scan", **parameters)
        yield from answer["Items"]
        if "LastEvaluatedKey" not in answer:
            return
        parameters["ExclusiveStartKey"] = answer["LastEvaluatedKey"]


def move(
    rounds: Rounds, large: LargeRows, interactions: Sequence[ChatInteraction], segments: Segments
) -> int:
    """See `Database.move_to_cold`."""
    gone: list[Kept] = []

    def move_one(interaction: ChatInteraction, stored: Item | None) -> bool:
        if stored is None or "archived_in" in stored:
            return False
        if not same_record(items.to_record(stored), to_record(interaction)):
            return False
        segment = segment_of(segments, interaction.interaction_id)
        stub = items.to_stub_item(interaction, segment, items.new_version())
        only_if = condition(expressions.SAME_VERSION, expected=items.version_of(stored))
        is_moved = _put(rounds.client, stub, only_if)
        gone.extend(items.large_texts_of(stored) if is_moved else [])
        return is_moved

    try:
        return rounds.compared(move_one, interactions)
    finally:
        large.remove(gone)


def bring_back(
    rounds: Rounds,
    large: LargeRows,
    interactions: Sequence[ChatInteraction],
    segment: str,
    shards: int,
) -> int:
    """See `Database.return_from_cold`. They go to `shards`, as new ones do."""
    only_if = condition(expressions.STUB_OF, segment=segment)
    refused: list[ChatInteraction] = []

    def bring_one_back(interaction: ChatInteraction) -> bool:
        item = items.to_item(interaction, items.new_version(), shards)
        is_back = _put(rounds.client, item, only_if)
        refused.extend([] if is_back else [interaction])
        return is_back

    total = 0
    for part in batched(interactions, AT_ONCE):
        total += rounds.sum(bring_one_back, large.packed_all(part))
        large.discard(refused)
        refused.clear()
    return total


def adopt(rounds: Rounds, interactions: Sequence[ChatInteraction], segment: str) -> bool:
    """See `Database.adopt`. Reads 100 items at once, and writes those that are to change."""

    def adopt_one(interaction: ChatInteraction, stored: Item | None) -> bool:
        if stored is not None:
            stub = items.to_stub(stored)
            return stub is not None and stub.segment == segment
        new = items.to_stub_item(interaction, segment, items.new_version())
        return _put(rounds.client, new, condition(expressions.NOT_THERE))

    return rounds.compared(adopt_one, interactions) == len(interactions)


def move_stubs(
    rounds: Rounds, interactions: Sequence[ChatInteraction], segment: str, to_segment: str
) -> int:
    """See `Database.move_stubs`."""
    only_if = condition(expressions.STUB_OF, segment=segment)

    def move_one(interaction: ChatInteraction) -> bool:
        new = items.to_stub_item(interaction, to_segment, items.new_version())
        return _put(rounds.client, new, only_if)

    return rounds.sum(move_one, interactions)


def complete(rounds: Rounds, interactions: Sequence[ChatInteraction], segment: str) -> None:
    """See `Database.complete_stubs`."""

    def complete_one(interaction: ChatInteraction, stored: Item | None) -> bool:
        if (
            stored is None
            or items.model_of(stored) is not None
            or stored["archived_in"]["S"] != segment
        ):
            return False
        stub = items.to_stub_item(interaction, segment, items.new_version())
        return _put(
            rounds.client,
            stub,
            condition(expressions.SAME_VERSION, expected=items.version_of(stored)),
        )

    rounds.compared(complete_one, interactions)


def drop(rounds: Rounds, interaction_ids: Sequence[str], segment: str) -> int:
    """See `Database.drop_stubs`."""
    return rounds.delete_ids(interaction_ids, condition(expressions.STUB_OF, segment=segment))


def _put(client: Client, item: Item, only_if: dict[str, Any]) -> bool:
    """Put an item if the condition holds. Returns whether this call has put it."""
    try:
        with sent_once(OBJECT in item):
            client.call("PutItem", Item=item, **only_if)
    except ConditionFailed as failure:
        return failure.item is not None and failure.item.get("v") == item["v"]
    return True
