"""Point-in-time recovery of DynamoDB: how far back it reaches, and restoring a table from it.

DynamoDB restores into a new table, which has the items and the indexes, but no TTL, no recovery, no
protection and no tags. It must not be used until it has the tag `state=restored:NAME`, with its own
name: it may have interactions that were erased since. A table that DynamoDB has just made has no
tags at all, so it must not be used without that one. Servers may not read tags; they look at
`storage.dynamodb.own_name`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeGuard

from storage.dynamodb import own_name, table
from storage.dynamodb.client import Client, TableMissing
from storage.dynamodb.table import Description
from storage.exceptions import StorageError, StorageUnavailable

RECOVERY_DAYS = 35
"""How long DynamoDB keeps changes: its default, and the most it allows."""

TOLERANCE = timedelta(seconds=1)
"""DynamoDB restores to a whole second."""


class NotRecoverable(StorageError):
    """The table cannot be restored to this time or under this name; the message says why."""


@dataclass(frozen=True)
class Window:
    """The times that a table can be restored to."""

    earliest: datetime
    latest: datetime
    days: int


def window(client: Client) -> Window:
    """How far back the recovery of the table reaches. Raises NotRecoverable if it is off."""
    found = client.manage("DescribeContinuousBackups", TableName=client.table)
    recovery = found.get("ContinuousBackupsDescription", {}).get(
        "PointInTimeRecoveryDescription", {}
    )
    if "LatestRestorableDateTime" not in recovery:  # or it was turned on just now
        raise NotRecoverable(
            f"The point-in-time recovery of the table {client.table} is off: it has no backup. "
            "Turn it on: manage.py dynamodb_table create"
        )
    return Window(
        earliest=recovery["EarliestRestorableDateTime"].astimezone(UTC),
        latest=recovery["LatestRestorableDateTime"].astimezone(UTC),
        days=int(recovery.get("RecoveryPeriodInDays", RECOVERY_DAYS)),
    )


def restore(
    source: Client,
    target: Client,
    at: datetime | None,
    wait: Callable[[], None],
    change: Callable[[], None],
    *,
    in_use: bool = False,
) -> list[str]:
    """Restore the table of `source` as it was `at` a time, or else now, as the table of `target`.

    Returns what was done. `wait` is called while DynamoDB works, and should pause. If it raises,
    another call goes on from there. `change` is called before the table may be used, and again by
    every call: of a table that is ready already, it erases who was erased since; but not if it may
    be `in_use` by now. Raises NotRecoverable and StorageUnavailable.
    """
    done = []
    if check(source, target, at, in_use=in_use):
        _begin(source, target, at)
        done.append("began to restore")
    while not _is_active(description := _describe(target)):
        wait()
    arn = description["TableArn"]
    _refuse_servers(target, arn, wait)
    done += table.create(target)
    change()
    if wrong := [found for found in table.differences(target) if found != table.UNFINISHED]:
        raise StorageUnavailable(" ".join(wrong))
    _let_servers(target, arn, wait)
    return [*done, "is ready"]


def bring_up_to_date(
    target: Client,
    wait: Callable[[], None],
    change: Callable[[], None],
    *,
    in_use: bool = False,
) -> None:
    """Call `change` on a table that is there already, before the service goes over to it.

    Meanwhile it is refused, as one that is being restored. Raises NotRecoverable and
    StorageUnavailable.
    """
    arn = check_there(target, in_use=in_use)
    _refuse_servers(target, arn, wait)
    change()
    _let_servers(target, arn, wait)


def check_there(target: Client, *, in_use: bool = False) -> str:
    """Returns the ARN of a table of this application. Raises NotRecoverable if there is none.

    Also if the table may be `in_use`, unless an earlier call has not ended.
    """
    description = _describe(target)
    if description is None:
        raise NotRecoverable(f"There is no table {target.table}.")
    arn = str(description["TableArn"])
    if in_use:
        _refuse_ready(target, arn)
    if not table.TAGS.items() <= table.tags(target, arn).items():
        raise NotRecoverable(
            f"The table {target.table} does not have the tags {table.TAGS}: it is another "
            "application's, or its restore has not come far; then restore it first."
        )
    return arn


def _refuse_ready(target: Client, arn: str) -> None:
    """Raises NotRecoverable unless servers refuse the table: what they delete could be back."""
    try:
        own_name.check(target)
    except own_name.UnfinishedRestore:
        return
    if table.tags(target, arn).get(table.STATE) != table.RESTORING:
        raise NotRecoverable(
            f"The archive belongs to the table {target.table} already, so the service may be using "
            "it. Nothing was done."
        )


def check(source: Client, target: Client, at: datetime | None, *, in_use: bool = False) -> bool:
    """Whether `restore` would begin (True) or go on (False). Raises NotRecoverable if neither."""
    description = _describe(target)
    if description is not None:
        _refuse_other(source, target, description, at)
        if in_use:
            _refuse_ready(target, description["TableArn"])
        return False
    reach = window(source)
    if at is not None and not reach.earliest <= at <= reach.latest:
        raise NotRecoverable(
            f"The table can be restored to a time from {_text(reach.earliest)} to "
            f"{_text(reach.latest)}."
        )
    return True


def _begin(source: Client, target: Client, at: datetime | None) -> None:
    time = {"UseLatestRestorableTime": True} if at is None else {"RestoreDateTime": at}
    source.manage(
        "RestoreTableToPointInTime",
        SourceTableName=source.table,
        TargetTableName=target.table,
        BillingModeOverride="PAY_PER_REQUEST",
        **time,
    )


def _refuse_other(
    source: Client, target: Client, description: Description, at: datetime | None
) -> None:
    """Raises NotRecoverable unless an earlier call like this one has begun the table."""
    summary = description.get("RestoreSummary", {})
    of_source = _describe(source)
    is_ours = of_source is not None and summary.get("SourceTableArn") == of_source["TableArn"]
    is_begun = table.tags(target, description["TableArn"]).get(table.STATE) == table.RESTORING
    if not is_ours and not is_begun:
        raise NotRecoverable(f"There is a table {target.table} already. Choose another name.")
    begun_at = summary.get("RestoreDateTime")
    if at is not None and begun_at is not None and abs(begun_at - at) > TOLERANCE:
        raise NotRecoverable(
            f"The table {target.table} is restored to {_text(begun_at)}. Choose another name."
        )


def _refuse_servers(target: Client, arn: str, wait: Callable[[], None]) -> None:
    own_name.record(target, own_name.NONE_YET)
    _set_state(target, arn, table.RESTORING, wait)


def _let_servers(target: Client, arn: str, wait: Callable[[], None]) -> None:
    _set_state(target, arn, table.restored(target.table), wait)
    own_name.record(target, target.table)


def _set_state(target: Client, arn: str, state: str, wait: Callable[[], None]) -> None:
    """Returns when DynamoDB tells the new tag. It may tell an earlier one for some seconds."""
    target.manage("TagResource", ResourceArn=arn, Tags=[{"Key": table.STATE, "Value": state}])
    wait()
    while table.tags(target, arn).get(table.STATE) != state:
        wait()


def _text(time: datetime) -> str:
    return time.astimezone(UTC).isoformat()


def _describe(client: Client) -> Description | None:
    try:
        return dict(client.manage("DescribeTable", TableName=client.table)["Table"])
    except TableMissing:
        return None


def _is_active(description: Description | None) -> TypeGuard[Description]:
    """Whether the table and its indexes can be used. DynamoDB may not know a new table yet."""
    if description is None:
        return False
    indexes = description.get("GlobalSecondaryIndexes", [])
    states = [description["TableStatus"], *(index["IndexStatus"] for index in indexes)]
    return all(state == "ACTIVE" for state in states)
