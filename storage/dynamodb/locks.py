"""Locks in the table of the interactions."""

import math
import time

from storage.dynamodb.client import Client, ConditionFailed
from storage.dynamodb.expressions import names

PREFIX = "\x1flock#"
"""Begins the key of a lock. No interaction's id contains a control character."""

FREE = "attribute_not_exists(#interaction_id) OR #until <= :now OR #owner = :owner"


def acquire(client: Client, name: str, owner: str, seconds: float) -> bool:
    """Acquire a free or expired lock, or renew it. Returns whether `owner` holds it."""
    now = time.time()
    try:
        client.call(
            "PutItem",
            Item={
                "interaction_id": {"S": PREFIX + name},
                "owner": {"S": owner},
                "until": {"N": f"{now + seconds:.6f}"},
                "expires_at": {"N": str(math.ceil(now + seconds) + 86_400)},
            },
            ConditionExpression=FREE,
            ExpressionAttributeNames=names(FREE),
            ExpressionAttributeValues={":now": {"N": f"{now:.6f}"}, ":owner": {"S": owner}},
        )
    except ConditionFailed:
        return False
    return True


def release(client: Client, name: str, owner: str) -> None:
    """Release a lock if `owner` holds it."""
    condition = "#owner = :owner"
    try:
        client.call(
            "DeleteItem",
            Key={"interaction_id": {"S": PREFIX + name}},
            ConditionExpression=condition,
            ExpressionAttributeNames=names(condition),
            ExpressionAttributeValues={":owner": {"S": owner}},
        )
    except ConditionFailed:
        return


def drop(client: Client, name: str) -> None:
    """Release a lock, whoever holds it."""
    client.call("DeleteItem", Key={"interaction_id": {"S": PREFIX + name}})
