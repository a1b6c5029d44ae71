"""The expressions in requests to DynamoDB.

Every attribute is written as `#name`, since many names are reserved words of DynamoDB.
"""

import functools
import re
from typing import Any

from storage.dynamodb import items
from storage.dynamodb.items import OPTIONAL_ATTRIBUTES, Item

FREE = "attribute_not_exists(#interaction_id) OR #created_at <= :cutoff"
"""The id has no interaction, or one that has expired."""

REPLACEABLE = (
    "attribute_not_exists(#interaction_id) OR "
    "(#user_id = :user_id AND #created_at > :cutoff AND #saved_as <> :saved_as)"
)
"""The id is free; or the same user's, not expired, and not written by an earlier attempt."""

REPLACEABLE_IN_PLACE = (
    "attribute_not_exists(#interaction_id) OR (#user_id = :user_id AND #created_at > :cutoff "
    "AND #saved_as <> :saved_as AND #created_at = :created_at)"
)
"""As above, and created at the same time, which is part of the position of an answer."""

SAME_VERSION = "#version = :expected"

STUB_OF = "#archived_in = :segment"
"""The interaction is cold, and in this segment."""

NOT_THERE = "attribute_not_exists(#interaction_id)"

OF_USER = "#user_id = :user_id"

CREATED_UNTIL = "#created_at <= :until"

KEPT_FROM_THE_FIRST_SAVE = ("created_at", "position", "shard", "expires_at")


def condition(expression: str, **values: str) -> dict[str, Any]:
    """Returns the parameters of a request that takes effect only if `expression` holds.

    `values` are the strings for its placeholders, except `:cutoff`. If the condition does not hold,
    the response contains the stored item.
    """
    known = {"cutoff": items.cutoff()} if ":cutoff" in expression else {}
    placeholders = {f":{name}": {"S": value} for name, value in (known | values).items()}
    found: dict[str, Any] = {
        "ConditionExpression": expression,
        "ExpressionAttributeNames": names(expression),
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }
    # DynamoDB refuses an empty one.
    return found | {"ExpressionAttributeValues": placeholders} if placeholders else found


def update(changes: Item, only_if: dict[str, Any]) -> dict[str, Any]:
    """Returns the parameters of an UpdateItem that sets `changes`, on the condition `only_if`.

    Removes OPTIONAL_ATTRIBUTES that are not among the changes.
    """
    expression = _update_expression(tuple(changes))
    values = {f":{name}": value for name, value in changes.items()}
    return {
        **only_if,
        "UpdateExpression": expression,
        "ExpressionAttributeNames": names(expression) | only_if["ExpressionAttributeNames"],
        "ExpressionAttributeValues": values | only_if["ExpressionAttributeValues"],
    }


@functools.lru_cache(maxsize=100)
def names(expression: str) -> dict[str, str]:
    """Maps the `#names` in an expression to attributes. DynamoDB refuses unused names."""
    return {f"#{name}": name for name in re.findall(r"#(\w+)", expression)}


@functools.cache
def _update_expression(changed: tuple[str, ...]) -> str:
    settings = (
        f"#{name} = if_not_exists(#{name}, :{name})"
        if name in KEPT_FROM_THE_FIRST_SAVE
        else f"#{name} = :{name}"
        for name in changed
    )
    expression = "SET " + ", ".join(settings)
    removed = [f"#{name}" for name in OPTIONAL_ATTRIBUTES if name not in changed]
    return f"{expression} REMOVE {', '.join(removed)}" if removed else expression
