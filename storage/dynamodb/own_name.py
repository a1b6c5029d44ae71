"""The name of a table in an item of its own, by which a copy of it is known for a copy.

A table that DynamoDB has restored has the items of another table, and so that one's name. `restore`
changes that when it has erased again whoever was erased since. Until then servers refuse the table.
If there is no such item, no server of this version has used the table, or the one that it is a copy
of.
"""

from storage.dynamodb import expressions
from storage.dynamodb.client import Client, ConditionFailed
from storage.dynamodb.expressions import condition
from storage.dynamodb.items import key_of
from storage.exceptions import StorageUnavailable

ID = "\x1ftable"
"""No interaction's id contains a control character."""

NONE_YET = "?"
"""No table has this name. It stands there while a table is being restored."""


class UnfinishedRestore(StorageUnavailable):
    """The table may hold what was erased."""

    def __init__(self, table: str) -> None:
        super().__init__(
            f"The table {table} is a copy whose restore has not ended, so it may hold erased data. "
            "Run what was interrupted again, with DYNAMODB_TABLE as it was: manage.py restore "
            f"--to-table {table}, with --erase-again if that was given"
        )


def check(client: Client) -> None:
    """Raises UnfinishedRestore if the table has another name than its own."""
    item = client.call("GetItem", Key=key_of(ID), ConsistentRead=True).get("Item")
    if item is not None and item["name"]["S"] != client.table:
        raise UnfinishedRestore(client.table)


def record(client: Client, name: str) -> None:
    """Put a name in the place of what the table has."""
    client.call("PutItem", Item={**key_of(ID), "name": {"S": name}})


def record_first(client: Client) -> None:
    """Put the table's own name there, unless it has one."""
    item = {**key_of(ID), "name": {"S": client.table}}
    try:
        client.call("PutItem", Item=item, **condition(expressions.NOT_THERE))
    except ConditionFailed:
        return
