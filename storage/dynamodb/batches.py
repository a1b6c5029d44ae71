"""Reads and writes many items in few requests. Retries unprocessed ones for a limited time."""

import functools
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, wait
from itertools import chain
from typing import Any, TypeVar

from storage.compat import batched
from storage.dynamodb import metrics
from storage.dynamodb.client import THROTTLING, TRANSIENT, Client, NoTurn, sent_once
from storage.dynamodb.items import Item
from storage.dynamodb.pauses import Pauses
from storage.dynamodb.texts import text_bytes
from storage.exceptions import BatchUnfinished, StorageUnavailable
from storage.records.texts import OBJECT

READ_LIMIT = 100
"""DynamoDB's limit of items in one BatchGetItem."""

WRITE_LIMIT = 25
"""DynamoDB's limit of statements in one BatchExecuteStatement."""

AT_ONCE = 4
"""Requests of one batch at the same time. With 8 ms for each, a batch of 100 took half the time on
a busy machine (`benchmarks/latencies.py`).
"""

WRITE_BYTES = 4 * 1024 * 1024
"""Bytes of JSON in one BatchExecuteStatement, about. DynamoDB accepts 16 MB as sent over the
network, where an item of 390,000 bytes can take 2.3 MB because every character is escaped."""

MAYBE_DONE = "InternalServerError"
"""The code of a statement that may have taken effect: see `sent_once`."""

FULL_BYTES = 600_000
"""Bytes of JSON from which on a BatchGetItem may leave keys although nothing is throttled: it gives
a megabyte of one partition, less an item of up to 400 KB that did not fit, and 16 MB in all."""

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
                raise _unread(keys)
            answer = client.request(
                "BatchGetItem",
                {"RequestItems": {client.table: {"Keys": keys, "ConsistentRead": True}}},
            )
            items = answer["Responses"].get(client.table, [])
            found |= {item["interaction_id"]["S"]: item for item in items}
            keys = answer.get("UnprocessedKeys", {}).get(client.table, {}).get("Keys", [])
            if keys and _answer_bytes(answer) < FULL_BYTES:  # which is no error, either
                metrics.THROTTLED.labels("BatchGetItem").inc()
            if items:  # a response has at most 16 MB, so large items take several
                pauses.progressed()
            elif keys and not pauses.wait():
                raise _unread(keys)
    return found


def _unread(keys: Sequence[Item]) -> StorageUnavailable:
    return StorageUnavailable(f"DynamoDB has not given {len(keys)} items in time. Try again.")


def _answer_bytes(answer: dict[str, Any]) -> int:
    """Bytes of an answer; many, if its headers do not say."""
    headers = answer["ResponseMetadata"]["HTTPHeaders"]
    return int(headers.get("content-length", FULL_BYTES))


def insert(client: Client, items: Sequence[Item], deadline: float, executor: Executor) -> set[str]:
    """Write the items whose id is free; returns the ids that were taken. No id may come twice.

    A statement changes nothing if its id is taken. BatchWriteItem has no conditions, and would
    replace what is stored. Up to AT_ONCE requests are under way, in the threads of
    `executor`.

    Raises BatchUnfinished with the ids of the items that are not known to be written by the
    deadline (of `time.monotonic`). Then no request is under way any more.
    """
    parts = list(_parts_to_write(items))
    insertion = _Insertion(client, parts, deadline)
    if len(parts) == 1:
        insertion.work()
    else:
        futures = [executor.submit(insertion.work) for _ in parts[:AT_ONCE]]
        wait(futures)
        for future in futures:
            future.result()
    return insertion.result()


class _Insertion:
    """The parts of one batch, which several threads write."""

    def __init__(self, client: Client, parts: Sequence[list[Item]], deadline: float) -> None:
        self._client = client
        self._ids = [_id(item) for part in parts for item in part]
        self._parts = deque(parts)
        self._deadline = deadline
        self._taken: set[str] = set()
        self._undone: list[Item] = []
        self._has_begun = False
        self._error: StorageUnavailable | None = None

    def work(self) -> None:
        """Write one part after the other, until none is left or one has failed."""
        while self._error is None:
            try:
                part = self._parts.popleft()
            except IndexError:
                return
            self._write(part)

    def result(self) -> set[str]:
        """The ids that were taken. Raises BatchUnfinished."""
        if self._error:
            left = {_id(item) for item in chain(self._undone, *self._parts)}
            raise BatchUnfinished([each for each in self._ids if each in left]) from self._error
        return self._taken

    def _write(self, undone: list[Item]) -> None:
        pauses = Pauses(self._deadline)
        is_first = _id(undone[0]) == self._ids[0]
        try:
            while undone:
                if pauses.over():
                    raise StorageUnavailable("DynamoDB was too slow for the whole batch.")
                try:
                    errors = _insert_part(self._client, undone)
                except NoTurn:
                    # Of a batch under way, half would be written. Before that the first part
                    # decides for all, and they may well be refused.
                    may_wait = self._has_begun or not is_first
                    if not may_wait or self._error or not pauses.wait():
                        raise
                    continue
                self._has_begun = True
                self._taken.update(_id(item) for item, error in errors if error == "DuplicateItem")
                left = [item for item, error in errors if error in TRANSIENT]
                if len(left) < len(undone):
                    pauses.progressed()
                undone = left
                if any(OBJECT in item and error == MAYBE_DONE for item, error in errors):
                    raise StorageUnavailable("DynamoDB may have written an item; try again.")
                if undone and not pauses.wait():
                    raise StorageUnavailable(f"DynamoDB left {len(undone)} items unwritten.")
        except StorageUnavailable as error:
            self._error = error
        finally:
            self._undone += undone


def _insert_part(client: Client, items: list[Item]) -> list[tuple[Item, str]]:
    """Returns the items that were not written, each with its error code."""
    statements = [
        {"Statement": _statement(client.table, tuple(item)), "Parameters": list(item.values())}
        for item in items
    ]
    with sent_once(any(OBJECT in item for item in items)):
        answer = client.request("BatchExecuteStatement", {"Statements": statements})
    results = zip(items, answer["Responses"], strict=True)
    errors = [(item, result["Error"]["Code"]) for item, result in results if "Error" in result]
    if any(code in THROTTLING for _, code in errors):  # which is no error of the whole request
        metrics.THROTTLED.labels("BatchExecuteStatement").inc()
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


def _id(item: Item) -> str:
    return str(item["interaction_id"]["S"])


def _parts_to_write(items: Sequence[Item]) -> Iterator[list[Item]]:
    part: list[Item] = []
    size = 0
    for item in items:
        item_size = text_bytes(item)
        if part and (len(part) == WRITE_LIMIT or size + item_size > WRITE_BYTES):
            yield part
            part, size = [], 0
        part.append(item)
        size += item_size
    if part:
        yield part
