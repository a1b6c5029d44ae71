"""The table: its definition, creating it, and checking what is missing or wrong."""

import time
from collections.abc import Callable
from typing import Any

from pynamodb.constants import KEYS_ONLY

from storage.dynamodb import stream
from storage.dynamodb.client import Client, TableMissing
from storage.dynamodb.mirror import Answers, InteractionItem, Newest, OfUser
from storage.exceptions import StorageUnavailable

TTL_ATTRIBUTE = InteractionItem.expires_at.attr_name
TAGS = {"application": "chat-interaction-store"}

STATE, RESTORING = "state", "restoring"
"""A tag, and its value, of a table that must not be used yet. See `storage.backups.recovery`."""

UNFINISHED = "Its restore has not ended, so it may hold erased data; run manage.py restore again."

WAIT_SECONDS = 300.0
"""How long `create` waits for DynamoDB to complete one step."""

POLL_SECONDS = 0.5

UNKNOWN = "in a state that is not reported"
"""What an emulator leaves out."""

Description = dict[str, Any]


def definition() -> dict[str, Any]:
    """Returns the parameters of CreateTable, without the name, from the PynamoDB models."""
    indexes = [_index(index) for index in (Newest, OfUser, Answers)]
    schemas = [_KEY, *(index["KeySchema"] for index in indexes)]
    names = {key["AttributeName"] for schema in schemas for key in schema}
    return {
        "KeySchema": _KEY,
        "AttributeDefinitions": [
            {"AttributeName": name, "AttributeType": "S"} for name in sorted(names)
        ],
        "GlobalSecondaryIndexes": indexes,
        "BillingMode": "PAY_PER_REQUEST",
        "StreamSpecification": dict(stream.SPECIFICATION),
        "DeletionProtectionEnabled": True,
        "Tags": [{"Key": key, "Value": value} for key, value in TAGS.items()],
    }


def create(client: Client) -> list[str]:
    """Create the table, or what it lacks. Returns what was done, an empty list if nothing.

    Raises StorageUnavailable if DynamoDB refuses or does not finish in time. The keys of an
    existing table, an index with other keys and a TTL on another attribute cannot be changed;
    `differences` reports them.
    """
    done = []
    try:
        _describe(client)
    except TableMissing:
        client.manage("CreateTable", TableName=client.table, **definition())
        done.append("created the table")
    _wait_until_active(client)
    return done + [what for what, step in _steps(client) if step(client)]


def differences(client: Client) -> list[str]:
    """Returns what is wrong with the table, one sentence per problem."""
    try:
        table = _describe(client)
    except TableMissing as error:
        return [str(error)]
    found = []
    if table.get("KeySchema") != _KEY:
        found.append("The table's key must be interaction_id alone; make another table.")
    if wrong := _attributes_of_wrong_type(table):
        found.append(f"The key attributes {wrong} must be strings; make another table.")
    status = table.get("TableStatus", UNKNOWN)
    if status not in ("ACTIVE", "UPDATING"):
        found.append(f"The table is {status}; it must be ACTIVE.")
    if _billing(table) != "PAY_PER_REQUEST":
        found.append("The billing is provisioned; it must be on demand.")
    if problem := _stream_problem(table):
        found.append(problem)
    if not table.get("DeletionProtectionEnabled"):
        found.append("The deletion protection is off.")
    found += [problem for index in _INDEXES if (problem := _index_problem(table, index))]
    if problem := _ttl_problem(client):
        found.append(problem)
    if not _has_recovery(client):
        found.append("The point-in-time recovery is off.")
    found_tags = tags(client, table["TableArn"]) if "TableArn" in table else {}
    if not TAGS.items() <= found_tags.items():
        found.append(f"Tags are missing; the table should have {TAGS}.")
    state = found_tags.get(STATE)
    if state == RESTORING or ("RestoreSummary" in table and state != restored(client.table)):
        found.append(UNFINISHED)
    return found


def restored(name: str) -> str:
    """The tag's value of a table whose restore has ended.

    It has the name, since a copy of the table could have a copy of its tags. DynamoDB takes 256
    characters.
    """
    return f"restored:{name}"[:256]


def tags(client: Client, arn: str) -> dict[str, str]:
    """Returns the tags of the table as they were a few seconds ago."""
    answer = client.manage("ListTagsOfResource", ResourceArn=arn)
    return {tag.get("Key", ""): tag.get("Value", "") for tag in answer.get("Tags", [])}


def describe(client: Client) -> Description:
    """Returns the main properties of the table. DynamoDB counts items about every six hours."""
    table = _describe(client)
    return {
        "table": table.get("TableArn", client.table),
        "status": table.get("TableStatus", UNKNOWN),
        "billing": _billing(table),
        "items, some hours ago": table.get("ItemCount", 0),
        "bytes, some hours ago": table.get("TableSizeBytes", 0),
        "indexes": ", ".join(
            f"{index.get('IndexName')} ({index.get('IndexStatus', UNKNOWN)})"
            for index in table.get("GlobalSecondaryIndexes", [])
        ),
        "stream": _view_of_stream(table) or "off",
        "TTL": _ttl(client) or "off",
        "point-in-time recovery": "on" if _has_recovery(client) else "off",
        "deletion protection": "on" if table.get("DeletionProtectionEnabled") else "off",
    }


def _steps(client: Client) -> list[tuple[str, Callable[[Client], bool]]]:
    """The steps of `create` on an existing table. Each returns whether it changed anything."""
    return [
        ("set billing on demand", _set_billing),
        *((f"added the index {index['IndexName']}", _adder(index)) for index in _INDEXES),
        ("turned the stream on", _set_stream),
        ("turned TTL on", _set_ttl),
        ("turned point-in-time recovery on", _set_recovery),
        ("turned deletion protection on", _set_protection),
        ("added tags", _set_tags),
    ]


def _set_billing(client: Client) -> bool:
    if _billing(_describe(client)) == "PAY_PER_REQUEST":
        return False
    client.manage("UpdateTable", TableName=client.table, BillingMode="PAY_PER_REQUEST")
    _wait_until_active(client)
    return True


def _adder(index: dict[str, Any]) -> Callable[[Client], bool]:
    def add(client: Client) -> bool:
        if _find_index(_describe(client), index["IndexName"]):
            return False
        client.manage(
            "UpdateTable",
            TableName=client.table,
            AttributeDefinitions=definition()["AttributeDefinitions"],
            GlobalSecondaryIndexUpdates=[{"Create": index}],
        )
        _wait_until_active(client)
        return True

    return add


def _set_stream(client: Client) -> bool:
    if _view_of_stream(_describe(client)):
        return False  # maybe of another kind, which DynamoDB cannot change
    specification = stream.SPECIFICATION
    client.manage("UpdateTable", TableName=client.table, StreamSpecification=specification)
    _wait_until_active(client)
    return True


def _set_ttl(client: Client) -> bool:
    if _ttl(client):
        return False  # maybe on another attribute, which DynamoDB cannot change
    specification = {"Enabled": True, "AttributeName": TTL_ATTRIBUTE}
    client.manage("UpdateTimeToLive", TableName=client.table, TimeToLiveSpecification=specification)
    return True


def _set_recovery(client: Client) -> bool:
    if _has_recovery(client):
        return False
    deadline = time.monotonic() + WAIT_SECONDS
    while not _recovery_was_set(client):
        _pause_until(deadline, client)
    return True


def _recovery_was_set(client: Client) -> bool:
    """Turn recovery on. Returns False if DynamoDB is still preparing a new table for backups."""
    try:
        client.manage(
            "UpdateContinuousBackups",
            TableName=client.table,
            PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True},
        )
    except StorageUnavailable as error:
        if "ContinuousBackupsUnavailableException" in str(error):
            return False
        raise
    return True


def _set_protection(client: Client) -> bool:
    if _describe(client).get("DeletionProtectionEnabled"):
        return False
    client.manage("UpdateTable", TableName=client.table, DeletionProtectionEnabled=True)
    _wait_until_active(client)
    return True


def _set_tags(client: Client) -> bool:
    arn = _describe(client).get("TableArn")
    if arn is None or TAGS.items() <= tags(client, arn).items():
        return False
    client.manage("TagResource", ResourceArn=arn, Tags=definition()["Tags"])
    return True


def _wait_until_active(client: Client) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not _is_active(client):
        _pause_until(deadline, client)


def _pause_until(deadline: float, client: Client) -> None:
    if time.monotonic() > deadline:
        raise StorageUnavailable(
            f"The table {client.table} is still not active after {WAIT_SECONDS:.0f} s; "
            "run the command again to continue."
        )
    time.sleep(POLL_SECONDS)


def _is_active(client: Client) -> bool:
    try:
        table = _describe(client)
    except TableMissing:
        return False  # DescribeTable may not know a new table yet
    indexes = table.get("GlobalSecondaryIndexes", [])
    states = [table.get("TableStatus"), *(index.get("IndexStatus", "ACTIVE") for index in indexes)]
    return all(state == "ACTIVE" for state in states)


def _describe(client: Client) -> Description:
    return dict(client.manage("DescribeTable", TableName=client.table).get("Table", {}))


def _billing(table: Description) -> str:
    return str(table.get("BillingModeSummary", {}).get("BillingMode", "PROVISIONED"))


def _ttl(client: Client) -> str | None:
    """Returns the attribute of the TTL, or None if it is off."""
    answer = client.manage("DescribeTimeToLive", TableName=client.table)
    found = answer.get("TimeToLiveDescription", {})
    on = found.get("TimeToLiveStatus") in ("ENABLED", "ENABLING")
    return str(found.get("AttributeName")) if on else None


def _view_of_stream(table: Description) -> str | None:
    """Returns what the stream has of each change, or None if it is off."""
    found = table.get("StreamSpecification", {})
    return str(found.get("StreamViewType", UNKNOWN)) if found.get("StreamEnabled") else None


def _stream_problem(table: Description) -> str | None:
    view = _view_of_stream(table)
    if view is None:
        return "The stream is off; without it no usage is counted."
    if not stream.is_on(table):
        expected = stream.SPECIFICATION["StreamViewType"]
        return f"The stream has {view}; it must have {expected}. Turn it off, then create it."
    return None


def _ttl_problem(client: Client) -> str | None:
    attribute = _ttl(client)
    if attribute == TTL_ATTRIBUTE:
        return None
    if attribute is None:
        return f"The TTL is off; it must be on, with the attribute {TTL_ATTRIBUTE}."
    return (
        f"The TTL has the attribute {attribute}; it must be {TTL_ATTRIBUTE}. Turn it off, wait "
        "an hour, then create it."
    )


def _attributes_of_wrong_type(table: Description) -> str:
    return ", ".join(
        attribute["AttributeName"]
        for attribute in table.get("AttributeDefinitions", [])
        if attribute.get("AttributeName") in _KEY_ATTRIBUTES
        and attribute.get("AttributeType") != "S"
    )


def _has_recovery(client: Client) -> bool:
    answer = client.manage("DescribeContinuousBackups", TableName=client.table)
    found = answer.get("ContinuousBackupsDescription", {})
    recovery = found.get("PointInTimeRecoveryDescription", {})
    return recovery.get("PointInTimeRecoveryStatus") == "ENABLED"


def _index_problem(table: Description, expected: dict[str, Any]) -> str | None:
    name = expected["IndexName"]
    found = _find_index(table, name)
    if found is None:
        return f"The index {name} is missing."
    if found.get("KeySchema") != expected["KeySchema"]:
        return f"The index {name} has other keys; delete it, then create it again."
    if found.get("Projection", {}).get("ProjectionType") != KEYS_ONLY:
        return f"The index {name} must hold keys only; delete it, then create it again."
    status = found.get("IndexStatus", UNKNOWN)
    if status not in ("ACTIVE", "UPDATING"):
        return f"The index {name} is {status}; lists and lookups work when it is ACTIVE."
    return None


def index_problem(client: Client) -> str | None:
    """What is wrong with the first index that is not as it must be, or None.

    Raises StorageUnavailable.
    """
    found = _describe(client)
    problems = (_index_problem(found, wanted) for wanted in definition()["GlobalSecondaryIndexes"])
    return next(filter(None, problems), None)


def _find_index(table: Description, name: str) -> Description | None:
    indexes = table.get("GlobalSecondaryIndexes", [])
    return next((index for index in indexes if index.get("IndexName") == name), None)


def _index(index: Any) -> dict[str, Any]:
    attributes = sorted(index.Meta.attributes.values(), key=lambda a: not a.is_hash_key)
    return {
        "IndexName": index.Meta.index_name,
        "KeySchema": [
            {"AttributeName": a.attr_name, "KeyType": "HASH" if a.is_hash_key else "RANGE"}
            for a in attributes
        ],
        "Projection": {"ProjectionType": KEYS_ONLY},
    }


_KEY = [{"AttributeName": InteractionItem.interaction_id.attr_name, "KeyType": "HASH"}]
_INDEXES = definition()["GlobalSecondaryIndexes"]
_KEY_ATTRIBUTES = {key["AttributeName"] for key in definition()["AttributeDefinitions"]}
