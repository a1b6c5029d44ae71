"""Locks in the table of the interactions."""

import math
import time

from storage.database import END_OF_TIME, latest_lock_end
from storage.dynamodb.client import Client, ConditionFailed
from storage.dynamodb.expressions import names
from storage.dynamodb.items import Item

PREFIX = "\x1flock#"
"""Begins the key of a lock. No interaction's id contains a control character."""

FREE = (
    "attribute_not_exists(#interaction_id) OR #until <= :now OR #until > :latest OR #owner = :owner"
)


def acquire(client: Client, name: str, owner: str, seconds: float) -> bool:
    """Acquire a free or expired lock, or renew it. Returns whether `owner` holds it."""
    now = time.time()
    until = min(now + seconds, END_OF_TIME)
    try:
        client.call(
            "PutItem",
            Item={
                **_key(name),
                "owner": {"S": owner},
                "until": _number(until),
                "expires_at": {"N": str(math.ceil(until) + 86_400)},
            },
            ConditionExpression=FREE,
            ExpressionAttributeNames=names(FREE),
            ExpressionAttributeValues={
                ":now": _number(now),
                ":latest": _number(latest_lock_end(now, seconds)),
                ":owner": {"S": owner},
            },
        )
    except ConditionFailed:
        return False
    return True


def owner_of(client: Client, name: str, seconds: float) -> str | None:
    """Returns who holds a lock that is acquired for so many seconds, or None."""
    now = time.time()
    lock = client.call("GetItem", Key=_key(name), ConsistentRead=True).get("Item")
    if lock is None or not now < float(lock["until"]["N"]) <= latest_lock_end(now, seconds):
        return None
    return str(lock["owner"]["S"])


def release(client: Client, name: str, owner: str) -> None:
    """Release a lock if `owner` holds it."""
    condition = "#owner = :owner"
    try:
        client.call(
            "DeleteItem",
            Key=_key(name),
            ConditionExpression=condition,
            ExpressionAttributeNames=names(condition),
            ExpressionAttributeValues={":owner": {"S": owner}},
        )
    except ConditionFailed:
        return


def drop(client: Client, name: str) -> None:
    """Release a lock, whoever holds it."""
    client.call("DeleteItem", Key=_key(name))


def _key(name: str) -> Item:
    return {"interaction_id": {"S": PREFIX + name}}


def _number(seconds: float) -> dict[str, str]:
    return {"N": f"{seconds:.6f}"}
