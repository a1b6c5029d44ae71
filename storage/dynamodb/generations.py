"""The generations of cached values, in an item of the table of the interactions.

`storage.cache.generations` says what they are for. The item has an attribute for each group that
ever had a new generation: 256 at most, about 2 KB.
"""

from collections.abc import Collection

from storage.dynamodb.client import Client
from storage.dynamodb.items import Item, key_of

KEY = key_of("\x1fcache#generations")
"""No interaction's id contains a control character."""


class DynamoDBGenerations:
    """See `storage.cache.generations.Store`."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def read(self) -> dict[str, int]:
        """See `storage.cache.generations.Store`."""
        answer = self._client.call("GetItem", Key=KEY, ConsistentRead=True)
        return _numbers(answer.get("Item", {}))

    def advance(self, groups: Collection[str]) -> dict[str, int]:
        """See `storage.cache.generations.Store`. If the request is sent twice, it counts twice."""
        names = {f"#g{number}": group for number, group in enumerate(groups)}
        answer = self._client.call(
            "UpdateItem",
            Key=KEY,
            UpdateExpression="ADD " + ", ".join(f"{name} :one" for name in names),
            ExpressionAttributeNames=names,
            ExpressionAttributeValues={":one": {"N": "1"}},
            ReturnValues="ALL_NEW",
        )
        return _numbers(answer["Attributes"])


def _numbers(item: Item) -> dict[str, int]:
    return {name: int(value["N"]) for name, value in item.items() if "N" in value}
