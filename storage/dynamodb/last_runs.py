"""When maintenance last ran, in the table of the interactions: one item for all commands."""

from datetime import datetime
from email.utils import parsedate_to_datetime

from storage.dynamodb.client import Client
from storage.dynamodb.items import key_of
from storage.records.json import format_time

ID = "\x1flast-runs"
"""No interaction's id contains a control character."""


def record(client: Client, command: str, at: datetime) -> None:
    """Remember when a command last ran."""
    client.call(
        "UpdateItem",
        Key=key_of(ID),
        UpdateExpression="SET #command = :at",
        ExpressionAttributeNames={"#command": command},
        ExpressionAttributeValues={":at": {"S": format_time(at)}},
    )


def times(client: Client) -> dict[str, datetime]:
    """Returns when each command last ran, by its name."""
    item = client.call("GetItem", Key=key_of(ID), ConsistentRead=True).get("Item", {})
    return {
        command: datetime.fromisoformat(at["S"])
        for command, at in item.items()
        if command != "interaction_id"
    }


def server_time(client: Client) -> datetime | None:
    """Returns what the clock of DynamoDB says, to the second; None if the answer does not tell."""
    answer = client.call("GetItem", Key=key_of(ID))
    headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    try:
        return parsedate_to_datetime(headers["date"])
    except (KeyError, ValueError):
        return None
