"""Usage that the stream has lost is counted again, exactly, while others write."""

from datetime import UTC, datetime, timedelta

import pytest
from django.core.cache.backends.dummy import DummyCache

from chat.maintenance import usage
from chat.maintenance.runs import Run
from chat.maintenance.usage import Rebuilt
from storage.dynamodb import stream, usage_recount
from storage.dynamodb.usage import UsageFollower
from storage.exceptions import StorageUnavailable
from storage.models import UsageOfModel, UsageOfUser, UsageRebuild
from tests.clouds import make_storage
from tests.storage.dynamodb.test_usage import SUMS

NOW = datetime.now(UTC)
DAY = NOW - timedelta(days=3)


@pytest.fixture
def cloud(dynamodb_model, transactional_db, monkeypatch):
    cloud = make_storage(dynamodb_model, DummyCache("", {}))
    monkeypatch.setattr(cloud.database, "index_lag_seconds", 0.0)  # the server of tests has none
    return cloud


@pytest.fixture
def lose(cloud, monkeypatch):
    """The stream is turned off for a while, and what comes then is not in it."""
    monkeypatch.setattr(stream, "TOGETHER", timedelta(days=-1))  # a test is quicker than anybody

    def lose(rows):
        switch_stream(cloud, StreamEnabled=False)
        cloud.copy_interactions(rows)
        switch_stream(cloud, StreamEnabled=True, StreamViewType="NEW_AND_OLD_IMAGES")
        cloud.database._usage = UsageFollower(cloud.database.client)

    return lose


def switch_stream(cloud, **specification):
    client = cloud.database.client
    client.manage("UpdateTable", TableName=client.table, StreamSpecification=specification)


@pytest.fixture
def make_rows(make_interaction):
    def make_rows(count, **fields):
        return [
            make_interaction(
                interaction_id=f"{fields.get('user_id', 'ada')}-{number:02}",
                created_at=DAY.replace(hour=1, minute=number),
                **fields,
            )
            for number in range(count)
        ]

    return make_rows


def rebuild(cloud):
    report = Rebuilt()
    with Run(cloud) as run:
        usage.rebuild(cloud, run, report)
    return report


def differences(cloud):
    with Run(cloud, dry_run=True) as run:
        return list(usage.verify(cloud, run, Rebuilt()))


def total():
    rows = UsageOfModel.objects.all()
    return tuple(sum(getattr(row, name) for row in rows) for name in (*SUMS, "hot", "cold"))


def test_what_is_missing_is_counted_again(cloud, lose, make_rows):
    rows = make_rows(6)
    lose(rows)
    assert cloud.database.count_usage(30) is None
    assert UsageRebuild.objects.count() == 1
    assert rebuild(cloud).corrected == 2
    assert total() == (6, 0, 30, 42, 6, 0)
    assert differences(cloud) == []
    cloud.create_interactions_sync(make_rows(1, user_id="bob"))
    assert cloud.database.count_usage(30) is not None
    assert total()[0] == 7
    assert rebuild(cloud).corrected == 0


def write_meanwhile(cloud, make_rows, monkeypatch):
    """Between the reading of one row and the next: changes before, after and at the place."""
    rows, done = usage._rows, []

    def with_others(*arguments):
        for number, found in enumerate(rows(*arguments)):
            yield found
            if number == 10 and not done:
                done.append(True)
                cloud.update_interaction_sync("ada-02", {"output_tokens": 100})
                cloud.update_interaction_sync("ada-90", {"output_tokens": 1})
                cloud.delete_interaction_sync("ada-05")
                cloud.delete_interaction_sync("ada-80")
                cloud.create_interactions_sync(make_rows(3, user_id="bob"))
                moved = cloud.database.read("ada-03")
                assert cloud.database.move_to_cold([moved], "segment") == 1

    monkeypatch.setattr(usage, "_rows", with_others)
    monkeypatch.setattr(usage, "ROWS_AT_ONCE", 10)


EXPECTED = (123, 0, 615, 861 + 93 - 6, 120, 1)


def test_what_others_change_meanwhile_counts_once(cloud, lose, make_rows, monkeypatch):
    lose([*make_rows(60), *late(make_rows)])
    write_meanwhile(cloud, make_rows, monkeypatch)
    rebuild(cloud)
    assert cloud.database.count_usage(30) is not None
    assert total() == EXPECTED
    assert sum(row.output_tokens for row in UsageOfUser.objects.all()) == EXPECTED[3]


def late(make_rows):
    """Sixty more, an hour later."""
    rows = make_rows(60)
    for number, row in enumerate(rows, 60):
        row.interaction_id = f"ada-{number:02}"
        row.created_at += timedelta(hours=1)
    return rows


def test_without_what_has_changed_it_would_not(cloud, lose, make_rows, monkeypatch):
    lose([*make_rows(60), *late(make_rows)])
    write_meanwhile(cloud, make_rows, monkeypatch)
    monkeypatch.setattr(usage_recount, "_changed", lambda *_: {})
    rebuild(cloud)
    assert cloud.database.count_usage(30) is not None
    assert total() != EXPECTED


def test_if_another_process_counts_the_changes_meanwhile_the_day_is_begun_again(
    cloud, lose, make_rows, monkeypatch
):
    lose(make_rows(20))
    write_once = []
    of_day = usage.roll_ups.of_day

    def overtaken(day):
        if not write_once:
            write_once.append(True)
            cloud.update_interaction_sync("ada-02", {"output_tokens": 100})
            assert UsageFollower(cloud.database.client).follow(30) is None, "a rebuild is due"
        return of_day(day)

    monkeypatch.setattr(usage.roll_ups, "of_day", overtaken)
    rebuild(cloud)
    assert cloud.database.count_usage(30) is not None
    assert total() == (20, 0, 100, 140 + 93, 20, 0)


def test_without_a_stream_a_rebuild_says_what_to_do(cloud, make_rows):
    cloud.create_interactions_sync(make_rows(1))
    switch_stream(cloud, StreamEnabled=False)
    with pytest.raises(StorageUnavailable, match=r"no stream.*dynamodb_table create"):
        rebuild(cloud)
