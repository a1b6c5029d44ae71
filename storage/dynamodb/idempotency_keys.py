"""Idempotency keys in DynamoDB: which interaction a key has created.

An interaction and the record of its key are written in one transaction, so that both are written or
neither is. That costs twice as much as two separate writes, and one write unit for the index
`of_user`, through which an erasure finds the record. Only requests with a key pay this. Each value
of SECRET_KEY_FALLBACKS adds two write units, for the condition that the key is not known under it.
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis.html
"""

import math
import secrets
import time
from collections.abc import Callable, Iterator
from typing import Any

from storage.dynamodb.client import Client
from storage.dynamodb.expressions import FREE, condition, names
from storage.dynamodb.items import Item
from storage.dynamodb.mirror import IdempotencyItem, OfUser
from storage.exceptions import IdempotencyKeyReused
from storage.models import ChatInteraction
from storage.models.idempotency import IDEMPOTENCY_LIFETIME, Idempotency

UNUSED = "attribute_not_exists(#interaction_id) OR #expires_at <= :now"


def create(client: Client, item: Item, idempotency: Idempotency) -> None:
    """Write a new interaction and the record of its key. Raises TransactionCanceled."""
    made, user_id = item["interaction_id"]["S"], item["user_id"]["S"]
    free = condition(FREE)
    del free["ReturnValuesOnConditionCheckFailure"]  # the stored item is read when needed
    interaction = {"TableName": client.table, "Item": item, **free}
    client.request(
        "TransactWriteItems",
        {
            "TransactItems": [
                {"Put": interaction},
                {"Put": {"TableName": client.table, **_record(made, user_id, idempotency)}},
                *({"ConditionCheck": check} for check in _unknown(client, idempotency)),
            ],
            # If the response is lost, a repeated request has no second effect.
            "ClientRequestToken": secrets.token_urlsafe(16),
        },
    )


def _unknown(client: Client, idempotency: Idempotency) -> Iterator[dict[str, Any]]:
    """Conditions that the key is not remembered under an earlier SECRET_KEY."""
    for earlier in idempotency.earlier:
        yield {"TableName": client.table, "Key": _key(earlier), **_unused()}


def remember(client: Client, made: ChatInteraction, idempotency: Idempotency) -> None:
    """Record an interaction that exists for a key. Raises ConditionFailed if the key is used."""
    client.call("PutItem", **_record(made.interaction_id, made.user_id, idempotency))


def find(client: Client, idempotency: Idempotency) -> str | None:
    """Returns the id that this key created, or None.

    Raises IdempotencyKeyReused if the key came with another request.
    """
    for known in idempotency.known_as:
        answer = client.call("GetItem", Key=_key(known), ConsistentRead=True)
        record = answer.get("Item")
        if record is None or int(record["expires_at"]["N"]) <= time.time():
            continue
        if record["request"]["S"] != known.request:
            raise IdempotencyKeyReused
        return str(record["made"]["S"])
    return None


def forget_user(
    client: Client,
    user_id: str,
    do_all: Callable[..., Iterator[bool]],
    check_time: Callable[[], None],
) -> int:
    """Delete the records of a user's interactions; returns their number. `do_all` works as `map`.

    The index is eventually consistent and may lack records of the last second. Call it again.
    Raises what `check_time` raises, which is called before each page of them.
    """

    def delete(record: Item) -> bool:
        key = {"interaction_id": record["interaction_id"]}
        deleted = client.call("DeleteItem", Key=key, ReturnValues="ALL_OLD")
        return "Attributes" in deleted  # otherwise it was deleted, and the index lags

    condition = "#user_id = :user_id AND begins_with(#position, :beginning)"
    query: dict[str, Any] = {
        "IndexName": OfUser.Meta.index_name,
        "KeyConditionExpression": condition,
        "ExpressionAttributeNames": names(condition),
        "ExpressionAttributeValues": {
            ":user_id": {"S": user_id},
            ":beginning": {"S": IdempotencyItem.POSITION},
        },
    }
    removed = 0
    while True:
        check_time()
        answer = client.call("Query", **query)
        removed += sum(do_all(delete, answer["Items"]))
        if "LastEvaluatedKey" not in answer:
            return removed
        query["ExclusiveStartKey"] = answer["LastEvaluatedKey"]


def _record(made: str, user_id: str, idempotency: Idempotency) -> dict[str, Any]:
    expires_at = math.ceil(time.time() + IDEMPOTENCY_LIFETIME.total_seconds())
    return {
        "Item": {
            **_key(idempotency),
            "request": {"S": idempotency.request},
            "made": {"S": made},
            "user_id": {"S": user_id},
            "position": {"S": IdempotencyItem.POSITION + idempotency.key},
            "expires_at": {"N": str(expires_at)},
        },
        **_unused(),
    }


def _unused() -> dict[str, Any]:
    return {
        "ConditionExpression": UNUSED,
        "ExpressionAttributeNames": names(UNUSED),
        "ExpressionAttributeValues": {":now": {"N": str(int(time.time()))}},
    }


def _key(idempotency: Idempotency) -> Item:
    return {"interaction_id": {"S": IdempotencyItem.PREFIX + idempotency.key}}
