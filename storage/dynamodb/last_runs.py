"""When maintenance last ran, and how it ended, in the table of the interactions: an item each."""

from datetime import datetime

from storage.dynamodb.client import Client
from storage.dynamodb.items import key_of
from storage.records.http_dates import time_in
from storage.records.json import format_time
from storage.records.runs import Ended

ID = "\x1flast-runs"
"""No interaction's id contains a control character."""

ID_OF_ENDS = "\x1flast-ends"


def record(client: Client, command: str, at: datetime) -> None:
    """Remember when a command last ran."""
    _set(client, ID, command, format_time(at))


def times(client: Client) -> dict[str, datetime]:
    """Returns when each command last ran, by its name."""
    return {command: datetime.fromisoformat(at) for command, at in _all(client, ID).items()}


def record_end(client: Client, command: str, ended: Ended) -> None:
    """Remember how a command last ended."""
    _set(client, ID_OF_ENDS, command, f"{format_time(ended.at)} {ended.status}")


def ends(client: Client) -> dict[str, Ended]:
    """Returns how each command last ended, by its name."""
    found = {}
    for command, text in _all(client, ID_OF_ENDS).items():
        at, _, status = text.partition(" ")
        found[command] = Ended(datetime.fromisoformat(at), status)
    return found


def _set(client: Client, item_id: str, command: str, text: str) -> None:
    client.call(
        "UpdateItem",
        Key=key_of(item_id),
        UpdateExpression="SET #command = :text",
        ExpressionAttributeNames={"#command": command},
        ExpressionAttributeValues={":text": {"S": text}},
    )


def _all(client: Client, item_id: str) -> dict[str, str]:
    item = client.call("GetItem", Key=key_of(item_id), ConsistentRead=True).get("Item", {})
    return {command: text["S"] for command, text in item.items() if command != "interaction_id"}


def server_time(client: Client) -> datetime | None:
    """Returns what the clock of DynamoDB says, to the second; None if the answer does not tell."""
    answer = client.call("GetItem", Key=key_of(ID))
    headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    return time_in(headers.get("date"))
