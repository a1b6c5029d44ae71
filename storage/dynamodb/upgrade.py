"""Rewrites items of earlier versions as those of today: short names, compressed texts.

Both are read for ever, so nothing waits for it. It goes through the whole table once, 1 MB at a
time, and remembers how far it came, so that a run that was ended goes on there. An item is
rewritten only if its version is still the one that was read: no write of others is lost, and what
others have rewritten is left alone. No key changes, so no index is written to. Stubs stay.
"""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from storage.compat import batched
from storage.dynamodb import expressions, items
from storage.dynamodb.client import Client, ConditionFailed
from storage.dynamodb.expressions import condition, names
from storage.dynamodb.items import ANSWER_ATTRIBUTES, Item, key_of

ID = "\x1fupgrade"
"""The item that has the key after which the next run goes on."""

AT_ONCE = 4
"""Writes at the same time; the other calls of a `Client` are for reading."""

IS_OLD = (
    "attribute_exists(#user_id) AND attribute_exists(#model_used) "
    "AND attribute_exists(#message) AND #created_at > :cutoff"
)
"""An interaction of an earlier version that has not expired. DynamoDB's TTL deletes the others."""


@dataclass
class Progress:
    """What a run has done so far."""

    seen: int = 0
    """Items of all kinds that were read."""
    rewritten: int = 0
    changed_by_others: int = 0
    """Items that others changed meanwhile. The next run looks at them."""


def upgrade(client: Client, per_second: int) -> Iterator[Progress]:
    """Rewrite at most so many items a second. Yields the progress after each megabyte.

    Raises StorageUnavailable if DynamoDB fails; another call goes on from there.
    """
    progress = Progress()
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="upgrade") as executor:
        for page, following in _pages(client, _remembered(client)):
            progress.seen += page["ScannedCount"]
            for part in batched(page["Items"], AT_ONCE):
                begun = time.monotonic()
                done = sum(executor.map(lambda item: rewrite(client, item), part))
                progress.rewritten += done
                progress.changed_by_others += len(part) - done
                time.sleep(max(0.0, begun + len(part) / per_second - time.monotonic()))
            _remember(client, following)
            yield progress


def count_old(client: Client) -> Iterator[Progress]:
    """Yields, after each megabyte, how many would be rewritten. Looks at the whole table."""
    progress = Progress()
    for page, _ in _pages(client, None, Select="COUNT"):
        progress.seen += page["ScannedCount"]
        progress.rewritten += page["Count"]
        yield progress


def rewrite(client: Client, item: Item) -> bool:
    """Rewrite an item if nobody has changed it. Returns whether it was rewritten."""
    interaction = items.to_interaction(item)
    new = items.to_completion(interaction, items.new_version())
    for name in ANSWER_ATTRIBUTES:
        new.pop(name, None)
    kept = {name: item[name] for name in ANSWER_ATTRIBUTES if name in item}
    changes = new | kept | {"s": item["saved_as"]}
    only_if = condition(expressions.SAME_VERSION, expected=items.version_of(item))
    try:
        client.call(
            "UpdateItem",
            Key=key_of(interaction.interaction_id),
            **expressions.update(changes, only_if),
        )
    except ConditionFailed as failure:
        # An earlier attempt, whose answer was lost, may have rewritten it.
        return failure.item is not None and failure.item.get("v") == changes["v"]
    return True


def _pages(
    client: Client, start: Item | None, **others: str
) -> Iterator[tuple[dict[str, Any], Item | None]]:
    """Yields what each scanned megabyte has of old items, and the key after which the next begins.

    Reads consistently, so that a run that finds nothing has missed nothing.
    """
    parameters: dict[str, Any] = {
        "FilterExpression": IS_OLD,
        "ExpressionAttributeNames": names(IS_OLD),
        "ExpressionAttributeValues": {":cutoff": {"S": items.cutoff()}},
        "ConsistentRead": True,
        **others,
    }
    while True:
        page = client.call("Scan", **parameters, **({"ExclusiveStartKey": start} if start else {}))
        start = page.get("LastEvaluatedKey")
        yield page, start
        if start is None:
            return


def _remembered(client: Client) -> Item | None:
    found = client.call("GetItem", Key=key_of(ID), ConsistentRead=True).get("Item")
    return None if found is None else {"interaction_id": found["after"]}


def _remember(client: Client, following: Item | None) -> None:
    if following is None:
        client.call("DeleteItem", Key=key_of(ID))
    else:
        client.call("PutItem", Item=key_of(ID) | {"after": following["interaction_id"]})
