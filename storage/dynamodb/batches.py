"""Many items in few requests. What DynamoDB leaves undone is tried again, for a bounded time."""

import functools
import json
from collections.abc import Iterator, Sequence
from typing import TypeVar

from storage.batched import batched
from storage.dynamodb.client import TRANSIENT, Client
from storage.dynamodb.items import Item
from storage.dynamodb.pauses import Pauses
from storage.exceptions import BatchUnfinished, StorageUnavailable

READ_LIMIT = 100
"""Items in one BatchGetItem: DynamoDB's limit."""

WRITE_LIMIT = 25
"""Statements in one BatchExecuteStatement: DynamoDB's limit."""

WRITE_BYTES = 4 * 1024 * 1024
"""Bytes of JSON in one BatchExecuteStatement, about. DynamoDB takes 16 MB, of what goes over the
network: an item of 390,000 bytes can be 2.3 MB there, every character escaped."""

T = TypeVar("T")


def read(client: Client, interaction_ids: Sequence[str], pauses: Pauses) -> dict[str, Item]:
    """The items with these ids, by id, as they are at this moment. What is not there is left out.

    Raises StorageUnavailable if DynamoDB does not give all of them in time.
    """
    found: dict[str, Item] = {}
    # An id may stand in an index twice for a moment, and DynamoDB refuses one that comes twice.
    for some in batched(list(dict.fromkeys(interaction_ids)), READ_LIMIT):
        keys = [{"interaction_id": {"S": interaction_id}} for interaction_id in some]
        while keys:
            if pauses.over():
                raise StorageUnavailable(f"DynamoDB left {len(keys)} items unread.")
            answer = client.request(
                "BatchGetItem",
                {"RequestItems": {client.table: {"Keys": keys, "ConsistentRead": True}}},
            )
            items = answer["Responses"].get(client.table, [])
            found |= {item["interaction_id"]["S"]: item for item in items}
            keys = answer.get("UnprocessedKeys", {}).get(client.table, {}).get("Keys", [])
            if items:  # an answer holds 16 MB at most, so large items come in several
                pauses.progressed()
            elif keys and not pauses.wait():
                raise StorageUnavailable(f"DynamoDB left {len(keys)} items unread.")
    return found


def insert(client: Client, items: Sequence[Item], pauses: Pauses) -> set[str]:
    """Write each item whose id is free; gives the ids that were taken. No id comes twice.

    A statement that finds its id taken changes nothing. BatchWriteItem, which knows no
    conditions, would replace what is stored.

    Raises BatchUnfinished with the ids of the items that DynamoDB has not taken in time.
    """
    taken: set[str] = set()
    parts = _parts_to_write(items)
    for some in parts:
        undone = some
        while undone:
            if pauses.over():
                raise _unfinished(undone, parts)
            try:
                errors = _insert_some(client, undone)
            except StorageUnavailable as error:
                raise _unfinished(undone, parts) from error
            taken |= {_id(item) for item, error in errors if error == "DuplicateItem"}
            left = [item for item, error in errors if error in TRANSIENT]
            if len(left) < len(undone):
                pauses.progressed()
            undone = left
            if undone and not pauses.wait():
                raise _unfinished(undone, parts)
    return taken


def _insert_some(client: Client, items: list[Item]) -> list[tuple[Item, str]]:
    """Items that were not written, each with the code of its error."""
    answer = client.request(
        "BatchExecuteStatement",
        {
            "Statements": [
                {
                    "Statement": _statement(client.table, tuple(item)),
                    "Parameters": list(item.values()),
                }
                for item in items
            ]
        },
    )
    results = zip(items, answer["Responses"], strict=True)
    errors = [(item, result["Error"]["Code"]) for item, result in results if "Error" in result]
    for _, code in errors:
        if code != "DuplicateItem" and code not in TRANSIENT:
            raise StorageUnavailable(
                f"DynamoDB refused an item of a batch: {code}. Compare the table and the "
                "permissions with manage.py dynamodb_table check."
            )
    return errors


@functools.lru_cache(maxsize=10)
def _statement(table: str, attributes: tuple[str, ...]) -> str:
    """PartiQL: INSERT, unlike PUT, fails if there is an item with this key."""
    value = ", ".join(f"'{name}': ?" for name in attributes)
    return f'INSERT INTO "{table}" VALUE {{{value}}}'


def _unfinished(undone: list[Item], parts: Iterator[list[Item]]) -> BatchUnfinished:
    left = [*undone, *(item for part in parts for item in part)]
    return BatchUnfinished([_id(item) for item in left])


def _id(item: Item) -> str:
    return str(item["interaction_id"]["S"])


def _parts_to_write(items: Sequence[Item]) -> Iterator[list[Item]]:
    part: list[Item] = []
    size = 0
    for item in items:
        item_size = sum(len(json.dumps(item[name]["S"])) for name in ("message", "response"))
        if part and (len(part) == WRITE_LIMIT or size + item_size > WRITE_BYTES):
            yield part
            part, size = [], 0
        part.append(item)
        size += item_size
    if part:
        yield part
