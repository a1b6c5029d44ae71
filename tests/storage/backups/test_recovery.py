"""A table as it once was: made again in all that DynamoDB does not restore, and safe until then."""

import itertools
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import ClassVar

import pytest
from django.core.cache.backends.dummy import DummyCache
from django.core.checks import run_checks

from storage.backups import recovery, selection
from storage.backups.base import NotRestored, RestoreReport
from storage.backups.recovery import NotRecoverable
from storage.dynamodb import table
from storage.dynamodb.client import Client, TableMissing
from storage.dynamodb.own_name import UnfinishedRestore
from storage.exceptions import StorageUnavailable
from tests import clouds, switches

numbers = itertools.count()

EACH = 1 if switches.is_set("BACKUP_STRIDE") else 5
"""Calls of a restore from one death to the next."""


class Died(Exception):
    """The process is gone."""


class AsAWS(Client):
    """As AWS: the table that the server has restored at once is CREATING for a while."""

    creating: ClassVar[dict] = {}
    asked: ClassVar[list] = []
    dies_at = None

    def manage(self, operation, **parameters):
        AsAWS.asked.append(operation)
        if len(AsAWS.asked) == AsAWS.dies_at:
            raise Died
        answer = super().manage(operation, **parameters)
        name = parameters.get("TableName")
        if operation == "RestoreTableToPointInTime":
            AsAWS.creating[parameters["TargetTableName"]] = 3
        if operation == "DescribeTable" and AsAWS.creating.get(name):
            AsAWS.creating[name] -= 1
            answer["Table"]["TableStatus"] = "CREATING"
        return answer


@pytest.fixture
def production(dynamodb_server, dynamodb_model, settings, monkeypatch):
    settings.AWS_REGION = "eu-central-1"
    settings.DYNAMODB_ENDPOINT_URL = dynamodb_server.url
    settings.DYNAMODB_TABLE = f"source-{next(numbers)}"
    monkeypatch.setattr(table, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(AsAWS, "creating", {})
    monkeypatch.setattr(AsAWS, "asked", [])
    monkeypatch.setattr(AsAWS, "dies_at", None)

    def client():
        made = AsAWS(dynamodb_model, clouds.CONNECTIONS)
        made.table = settings.DYNAMODB_TABLE
        return made

    monkeypatch.setattr(selection, "configured_client", client)
    return settings


@pytest.fixture
def source(production, make_interaction):
    """The table of production, with two interactions."""
    client = selection.configured_client()
    table.create(client)
    storage = of(client)
    assert storage.database.startup_problem() is None, "it remembers its name"
    for interaction_id in ("kept", "erased"):
        storage.save_interaction_sync(make_interaction(interaction_id=interaction_id))
    return client


def of(client):
    return clouds.storage_of(client, DummyCache("", {}))


@pytest.fixture
def target(source):
    client = selection.configured_client()
    client.table = f"target-{next(numbers)}"
    return client


def erase(restored):
    assert restored.alias is None
    return int(restored.storage.delete_interaction_sync("erased"))


def restore(target, at=None, before_live=erase, wait=lambda: None, **options):
    report = RestoreReport()
    how = {"before_live": before_live, "wait": wait} | options
    selection.table_backups().restore(target.table, at, report, **how)
    return report


def test_the_new_table_is_as_create_makes_it_and_erased_are_gone(target):
    report = restore(target)
    assert table.differences(target) == []
    assert report.erased == 1
    assert report.done[0] == "began to restore"
    assert report.done[-1] == "is ready"
    assert "turned TTL on" in report.done
    assert "turned point-in-time recovery on" in report.done
    assert "turned deletion protection on" in report.done
    assert "added tags" in report.done
    assert of(target).get_interaction_sync("kept") is not None
    assert of(target).get_interaction_sync("erased") is None


def test_the_old_table_stays_as_it_is(source, target):
    restore(target)
    assert of(source).get_interaction_sync("erased") is not None
    assert table.differences(source) == []


def test_until_the_erased_are_gone_the_table_is_refused(source, target):
    seen = []

    def look(restored):
        seen.extend(table.differences(target))
        return 0

    restore(target, before_live=look)
    assert seen == [table.UNFINISHED]


def test_until_the_erased_are_gone_no_server_starts_on_the_table(source, target):
    source.manage(
        "RestoreTableToPointInTime",
        SourceTableName=source.table,
        TargetTableName=target.table,
        UseLatestRestorableTime=True,
    )
    problem = of(target).database.startup_problem()
    assert f"The table {target.table} is a copy whose restore has not ended" in problem
    with pytest.raises(UnfinishedRestore):
        of(target).check_available_sync()

    def look(restored):
        with pytest.raises(UnfinishedRestore):
            restored.storage.check_available_sync()
        return 0

    restore(target, before_live=look)
    assert of(target).database.startup_problem() is None
    go_back(source, before_live=look)
    assert of(source).database.startup_problem() is None


def test_a_server_says_how_to_end_what_was_interrupted(source):
    """Without --erase-again, `restore` refuses a table that died so early."""
    AsAWS.asked.clear()
    AsAWS.dies_at = 3
    with pytest.raises(Died):
        go_back(source)
    assert AsAWS.asked[-1] == "TagResource"
    AsAWS.dies_at = None
    problem = of(source).database.startup_problem()
    assert f"restore --to-table {source.table}, with --erase-again if" in problem
    go_back(source)
    assert of(source).database.startup_problem() is None


def test_check_deploy_names_a_table_that_is_being_restored(target, production):
    def fail(restored):
        raise StorageUnavailable("The ledger cannot be read.")

    with pytest.raises(NotRestored, match="ledger"):
        restore(target, before_live=fail)
    production.ENVIRONMENT, production.DYNAMODB_TABLE = "production", target.table
    found = run_checks(include_deployment_checks=True)
    (error,) = [each for each in found if each.id == "storage.E004"]
    assert "Its restore has not ended, so it may hold erased data" in error.msg


def arn_of(client):
    return client.manage("DescribeTable", TableName=client.table)["Table"]["TableArn"]


def is_begun(target):
    return target.table in AsAWS.creating


def died_at(target, step):
    """Whether a restore has died at its n-th call; unless all was done, the table is refused."""
    AsAWS.asked.clear()
    AsAWS.dies_at = step
    try:
        restore(target)
    except Died:
        AsAWS.dies_at = None
        if not is_begun(target):
            return True
        table.create(target)  # as a hint of `check --deploy` may lead to
        if table.differences(target) != [table.UNFINISHED]:
            assert of(target).get_interaction_sync("erased") is None, "it has ended"
        with suppress(UnfinishedRestore):
            of(target).check_available_sync()
            assert of(target).get_interaction_sync("erased") is None, "servers may use it"
        return True
    return False


def test_it_goes_on_wherever_it_ended(target):
    began = target.table
    for step in itertools.count(1, EACH):
        target.table = f"{began}-{step}"
        if not died_at(target, step):
            break
        restore(target)
        assert table.differences(target) == []
        assert of(target).get_interaction_sync("erased") is None
        assert of(target).get_interaction_sync("kept") is not None
    assert step > 20, "there are that many calls"


def test_a_bound_on_the_waiting_ends_it_and_the_next_call_goes_on(target):
    def give_up():
        raise TimeoutError

    with pytest.raises(TimeoutError):
        restore(target, wait=give_up)
    assert AsAWS.asked.count("RestoreTableToPointInTime") == 1
    restore(target)
    assert AsAWS.asked.count("RestoreTableToPointInTime") == 1
    assert table.differences(target) == []


def test_of_one_that_is_ready_another_run_erases_who_was_erased_since(target, make_interaction):
    restore(target, before_live=lambda restored: 0)
    of(target).save_interaction_sync(make_interaction(interaction_id="since"))
    report = restore(target)
    assert (report.erased, report.done) == (1, ["is ready"])
    assert table.differences(target) == []
    assert of(target).get_interaction_sync("erased") is None
    assert of(target).get_interaction_sync("since") is not None


def go_back(client, before_live=erase, **options):
    report = RestoreReport()
    backups = selection.table_backups()
    how = {"before_live": before_live, "wait": lambda: None} | options
    backups.bring_up_to_date(client.table, report, **how)
    return report


def test_before_the_service_goes_back_to_a_table_the_erased_are_erased_from_it(source):
    seen = []

    def look_and_erase(restored):
        seen.extend(table.differences(source))
        return erase(restored)

    go_back(source, look_and_erase, dry_run=True)
    assert seen == []
    assert go_back(source, look_and_erase).erased == 1
    assert seen == [table.UNFINISHED]
    assert table.differences(source) == []
    assert of(source).get_interaction_sync("erased") is None
    assert of(source).get_interaction_sync("kept") is not None
    source.table = "other-table"
    with pytest.raises(NotRecoverable, match="There is no table other-table"):
        go_back(source)
    with pytest.raises(NotRecoverable, match="There is no table other-table"):
        go_back(source, dry_run=True)


def test_a_table_in_use_is_left_alone_unless_what_was_interrupted_goes_on(source, target):
    def die(restored):
        raise Died

    with pytest.raises(Died):
        go_back(source, before_live=die)
    go_back(source, in_use=True)
    for dry_run in (False, True):
        with pytest.raises(NotRecoverable, match="the service may be using it"):
            go_back(source, in_use=True, dry_run=dry_run)
    restore(target)
    with pytest.raises(NotRecoverable, match="the service may be using it"):
        restore(target, in_use=True)
    assert of(source).database.startup_problem() is None


@pytest.mark.parametrize("dry_run", [False, True])
def test_the_service_does_not_go_over_to_a_table_of_something_else(source, dry_run):
    arn = arn_of(source)
    source.manage("UntagResource", ResourceArn=arn, TagKeys=list(table.TAGS))
    AsAWS.asked.clear()
    with pytest.raises(NotRecoverable, match="it is another application's"):
        go_back(source, dry_run=dry_run)
    assert {name for name in AsAWS.asked if not name.startswith(("Describe", "List"))} == set()


def test_a_table_of_something_else_is_never_touched(source, target):
    table.create(target)
    AsAWS.asked.clear()
    with pytest.raises(NotRecoverable, match=r"There is a table .* already"):
        restore(target)
    assert {name for name in AsAWS.asked if not name.startswith(("Describe", "List"))} == set()


def test_the_table_of_production_is_not_restored_into_itself(source):
    with pytest.raises(NotRestored, match="Choose another name"):
        restore(source)


@pytest.mark.parametrize("name", ["with a space", "ab"])
def test_a_name_that_dynamodb_refuses_is_told_with_its_reason(source, target, name, caplog):
    target.table = name
    with pytest.raises(NotRestored, match=f"ValidationException.*'{name}'") as refused:
        restore(target)
    assert "dynamodb_table check" not in f"{refused.value} {caplog.text}"


def test_a_time_out_of_reach_says_the_reach(source, target):
    with pytest.raises(NotRecoverable, match="can be restored to a time from 2"):
        restore(target, at=datetime.now(UTC) - timedelta(days=40))
    with pytest.raises(TableMissing):
        target.manage("DescribeTable", TableName=target.table)


def test_another_time_for_the_same_table_is_refused(source, target):
    restore(target)
    with pytest.raises(NotRecoverable, match="Choose another name"):
        restore(target, at=datetime.now(UTC) - timedelta(days=1))


def test_a_time_within_reach_is_asked_for(source, target, monkeypatch):
    reach = recovery.Window(datetime(2026, 1, 1, tzinfo=UTC), datetime.now(UTC), 35)
    monkeypatch.setattr(recovery, "window", lambda client: reach)
    at = datetime(2026, 11, 1, tzinfo=UTC)
    restore(target, at=at)
    found = target.manage("DescribeTable", TableName=target.table)["Table"]
    assert found["RestoreSummary"]["RestoreDateTime"] == at


def test_without_recovery_there_is_nothing_to_restore(source, target):
    source.manage(
        "UpdateContinuousBackups",
        TableName=source.table,
        PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": False},
    )
    with pytest.raises(NotRecoverable, match=r"point-in-time recovery .* is off"):
        restore(target)


def test_copies_tell_of_the_recovery_without_asking_for_it(source, settings, tmp_path):
    settings.ENVIRONMENT, settings.BACKUP_DIR = "production", tmp_path
    AsAWS.asked.clear()
    (copy,) = selection.all_copies()
    assert copy.name == f"point-in-time recovery of {settings.DYNAMODB_TABLE}"
    assert timedelta(days=34, hours=23) < copy.gone_by - datetime.now(UTC) <= timedelta(days=35)
    assert AsAWS.asked == []
