"""Reads and writes many items in few requests. Retries unprocessed ones for a limited time."""

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
"""DynamoDB's limit of items in one BatchGetItem."""

WRITE_LIMIT = 25
"""DynamoDB's limit of statements in one BatchExecuteStatement."""

WRITE_BYTES = 4 * 1024 * 1024
"""Bytes of JSON in one BatchExecuteStatement, about. DynamoDB accepts 16 MB as sent over the
network, where an item of 390,000 bytes can take 2.3 MB because every character is escaped."""

T = TypeVar("T")


def read(client: Client, interaction_ids: Sequence[str], pauses: Pauses) -> dict[str, Item]:
    """Returns the items with these ids, by id, read consistently. Omits ids without an item.

    Raises StorageUnavailable if DynamoDB does not return all of them in time.
    """
    found: dict[str, Item] = {}
    # An index may briefly contain an id twice, and DynamoDB refuses duplicate keys.
    for batch in batched(dict.fromkeys(interaction_ids), READ_LIMIT):
        keys = [{"interaction_id": {"S": interaction_id}} for interaction_id in batch]
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
            if items:  # a response has at most 16 MB, so large items take several
                pauses.progressed()
            elif keys and not pauses.wait():
                raise StorageUnavailable(f"DynamoDB left {len(keys)} items unread.")
    return found


def insert(client: Client, items: Sequence[Item], pauses: Pauses) -> set[str]:
    """Write the items whose id is free; returns the ids that were taken. No id may come twice.

    A statement changes nothing if its id is taken. BatchWriteItem has no conditions, and would
    replace what is stored.

    Raises BatchUnfinished with the ids of the items that DynamoDB did not write in time.
    """
    taken: set[str] = set()
    parts = _parts_to_write(items)
    for part in parts:
        undone = part
        while undone:
            if pauses.over():
                raise _unfinished(undone, parts)
            try:
                errors = _insert_part(client, undone)
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


def _insert_part(client: Client, items: list[Item]) -> list[tuple[Item, str]]:
    """Returns the items that were not written, each with its error code."""
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
    """A PartiQL statement. INSERT, unlike PUT, fails if an item with this key exists."""
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
