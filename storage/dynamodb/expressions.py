"""The expressions in requests to DynamoDB.

Every attribute is written as `#name`, since many names are reserved words of DynamoDB. `#s` and
`#v` are the short names of `saved_as` and `version`; items of before have the long ones. An
interaction has its time in its position, a stub and an item of before in `created_at`.
"""

import functools
import re
from typing import Any

from storage.dynamodb import items
from storage.dynamodb.items import MAY_BE_ABSENT, Item

FREE = "attribute_not_exists(#interaction_id) OR #position <= :cutoff OR #created_at <= :cutoff"
"""The id has no interaction, or one that has expired."""

REPLACEABLE = (
    "attribute_not_exists(#interaction_id) OR (#user_id = :user_id AND #position > :cutoff "
    "AND (attribute_not_exists(#s) OR #s <> :s))"
)
"""The id is free; or the same user's, not expired, and not written by an earlier attempt."""

REPLACEABLE_IN_PLACE = (
    "attribute_not_exists(#interaction_id) OR (#user_id = :user_id AND #position > :cutoff "
    "AND (attribute_not_exists(#s) OR #s <> :s) AND #position = :position)"
)
"""As above, and created at the same time, which is part of the position of an answer."""

SAME_VERSION = "#v = :expected OR #version = :expected"

STUB_OF = "#archived_in = :segment"
"""The interaction is cold, and in this segment."""

NOT_THERE = "attribute_not_exists(#interaction_id)"

OF_USER = "#user_id = :user_id"

CREATED_UNTIL = "#position <= :until OR #created_at <= :until"

KEPT_FROM_THE_FIRST_SAVE = ("position", "shard", "expires_at")

AFTER_TIME = "$"
"""Sorts directly after '#', which separates time and id in a position."""


def condition(expression: str, **values: str) -> dict[str, Any]:
    """Returns the parameters of a request that takes effect only if `expression` holds.

    `values` are the strings for its placeholders, except `:cutoff`. If the condition does not hold,
    the response contains the stored item.
    """
    known = {"cutoff": items.cutoff() + AFTER_TIME} if ":cutoff" in expression else {}
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

    Removes those of MAY_BE_ABSENT that are not among the changes.
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
    removed = [f"#{name}" for name in MAY_BE_ABSENT if name not in changed]
    return f"{expression} REMOVE {', '.join(removed)}" if removed else expression
