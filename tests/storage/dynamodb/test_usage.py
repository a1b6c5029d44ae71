"""The roll-ups of usage follow the table's stream: each change counts once, whatever happens."""

import threading
import time
from collections import Counter
from contextlib import nullcontext, suppress
from datetime import UTC, date, datetime, timedelta
from unittest.mock import Mock

import pytest
from botocore.exceptions import ReadTimeoutError
from django.core.cache.backends.dummy import DummyCache
from django.db import connections

from storage import accounts
from storage.dynamodb import items, stream, usage, usage_rows
from storage.dynamodb.usage import UsageFollower
from storage.models import ForgottenUser, StreamPosition, UsageOfModel, UsageOfUser
from tests.clouds import make_storage

SUMS = ("interactions", "unanswered", "input_tokens", "output_tokens")
TODAY = datetime.now(UTC)


@pytest.fixture
def cloud(dynamodb_model, transactional_db):
    return make_storage(dynamodb_model, DummyCache("", {}))


@pytest.fixture
def database(cloud):
    return cloud.database


@pytest.fixture
def count(database):
    """Follows the stream; gives the sums of a model, or of a user."""

    def count(**of):
        assert database.count_usage(30) is not None
        rows = UsageOfModel.objects.all() if "user_id" not in of else UsageOfUser.objects.all()
        names = (*SUMS, "hot", "cold") if "user_id" not in of else SUMS
        return tuple(sum(getattr(row, name) for row in rows.filter(**of)) for name in names)

    return count


def items_of(client):
    """All items of interactions, as they are stored."""
    answer = client.call("Scan", ConsistentRead=True)
    assert "LastEvaluatedKey" not in answer
    return [each for each in answer["Items"] if not each["interaction_id"]["S"].startswith("\x1f")]


# What counts as what.


def test_every_kind_of_write_counts(cloud, database, count, make_interaction):
    ada = make_interaction(interaction_id="a", response="", created_at=TODAY)
    cloud.create_interaction_sync(ada)
    assert count() == (1, 1, 5, 7, 1, 0)
    assert count(user_id="ada") == (1, 1, 5, 7)
    completion = {"response": "r", "input_tokens": 6, "output_tokens": 1}
    cloud.update_interaction_sync("a", completion)
    assert count() == (1, 0, 6, 1, 1, 0)
    cloud.save_interaction_sync(make_interaction(interaction_id="a", model_used="model-2"))
    assert count(model_used="model-1") == (0, 0, 0, 0, 0, 0)
    assert count(model_used="model-2") == (1, 0, 5, 7, 1, 0)
    many = [make_interaction(interaction_id=name, user_id="bob") for name in ("a1", "a2", "a3")]
    cloud.create_interactions_sync(many)
    assert count() == (4, 0, 20, 28, 4, 0)
    rows = [database.read(name) for name in ("a1", "a2", "a3")]
    assert database.move_to_cold(rows, "segment") == 3
    assert count() == (4, 0, 20, 28, 1, 3)
    assert database.return_from_cold(rows[:1], "segment") == 1
    assert database.drop_stubs(["a2"], "segment") == 1
    assert count() == (4, 0, 20, 28, 2, 1)
    assert cloud.delete_interaction_sync("a")
    assert count() == (4, 0, 20, 28, 1, 1)
    assert count(user_id="ada") == (1, 0, 5, 7)
    assert count(user_id="bob") == (3, 0, 15, 21)
    days = set(UsageOfModel.objects.values_list("day", flat=True))
    assert days <= {TODAY.date(), datetime.now(UTC).date()}


def test_an_id_that_has_expired_is_created_anew(cloud, count, make_interaction, settings):
    settings.RETENTION_TOTAL_DAYS = 90
    old = make_interaction(interaction_id="a", created_at=TODAY - timedelta(days=89))
    cloud.create_interaction_sync(old)
    settings.RETENTION_TOTAL_DAYS = 30
    cloud.create_interaction_sync(make_interaction(interaction_id="a", output_tokens=1))
    assert count() == (2, 0, 10, 8, 1, 0)
    assert count(day=old.created_at.date()) == (1, 0, 5, 7, 0, 0)
    assert UsageOfUser.objects.filter(day=old.created_at.date()).count() == 1


def test_a_stub_of_an_earlier_version_counts_as_far_as_is_known(database, count, make_interaction):
    """It does not name its model, which is known when the interaction goes and when it returns."""
    interaction = make_interaction(interaction_id="a", created_at=TODAY)
    database.create(interaction, None)
    assert database.move_to_cold([interaction], "segment") == 1
    key = {"interaction_id": {"S": "a"}}
    database.client.call("UpdateItem", Key=key, UpdateExpression="REMOVE model_used")
    assert count() == (1, 0, 5, 7, 0, 1)
    assert database.return_from_cold([interaction], "segment") == 1
    assert count() == (1, 0, 5, 7, 1, 0)


def test_what_is_no_interaction_does_not_count(database, count):
    assert database.acquire_lock("a", "b", 60)
    database.record_run("purge_interactions", TODAY)
    assert count() == (0, 0, 0, 0, 0, 0)
    assert not UsageOfModel.objects.exists()


# Exactly once.


def test_two_processes_write_while_answers_are_lost_and_followers_die(
    dynamodb_server, cloud, database, make_interaction, monkeypatch, start_program
):
    kept = [make_interaction(interaction_id=f"kept-{number}") for number in range(6)]
    cloud.create_interactions_sync(kept)
    arguments = [dynamodb_server.url, database.client.table]
    program = "with_django.usage_writer"
    writers = [start_program(program, *arguments, seed) for seed in ("1", "2")]
    deaths = Counter()
    followers = [UsageFollower(database.client) for _ in range(2)]
    with monkeypatch.context() as patch:
        die_now_and_then(patch, deaths)
        follow_until(followers, lambda: all(each.poll() is not None for each in writers))
    assert [writer.returncode for writer in writers] == [0, 0], writers[0].stderr.read()
    assert all(int(writer.stdout.read()) > 0 for writer in writers), "some answers were lost"
    assert min(deaths["before"], deaths["after"]) > 0
    assert database.count_usage(30) is not None
    stored = items_of(database.client)
    rows = map(items.to_record, stored)
    of_kept = [row for row in rows if row["model_used"] == "model-1"]
    found = UsageOfModel.objects.get(model_used="model-1")
    assert (found.interactions, found.hot, found.cold) == (6, 6, 0)
    assert found.unanswered == sum(not row["response"] for row in of_kept)
    assert found.output_tokens == sum(row["output_tokens"] for row in of_kept)
    assert UsageOfUser.objects.get(user_id="ada").output_tokens == found.output_tokens
    gone = UsageOfModel.objects.get(model_used="gone")
    assert (gone.hot, gone.cold) == (len(stored) - 6, 0)
    assert gone.interactions > gone.hot
    assert gone.output_tokens == 7 * gone.interactions


class Death(Exception):
    """The process that follows ends here."""


def die_now_and_then(monkeypatch, deaths):
    """From the first time on, each third time: before a commit, and right after one."""
    calls, turn = Counter(), threading.Lock()
    count, count_page = usage_rows.count, UsageFollower._count

    def counted(records):
        with turn:
            calls["before"] += 1
            is_due = calls["before"] % 3 == 1
        if is_due:
            deaths["before"] += 1
            raise Death
        count(records)

    def committed(self, *args, **kwargs):
        done = count_page(self, *args, **kwargs)
        with turn:
            calls["after"] += 1
            is_due = calls["after"] % 3 == 1
        if is_due:
            deaths["after"] += 1
            raise Death
        return done

    monkeypatch.setattr(usage_rows, "count", counted)
    monkeypatch.setattr(UsageFollower, "_count", committed)


def follow_until(followers, is_over):
    def work(follower):
        while not is_over():
            follow(follower)
            time.sleep(0.02)
        connections["default"].close()

    threads = [threading.Thread(target=work, args=(each,)) for each in followers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def follow(follower):
    with suppress(Death):
        follower.follow(5)


def spoil(cloud, database, make_interaction, monkeypatch):
    """Four changes, and a follower that dies between moving its position and counting them."""
    database.count_usage(30)
    cloud.create_interactions_sync([make_interaction() for _ in range(4)])
    with monkeypatch.context() as patch:
        patch.setattr(usage_rows, "count", lambda records: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            UsageFollower(database.client).follow(30)


def test_who_dies_in_the_middle_has_counted_nothing(
    cloud, database, count, make_interaction, monkeypatch
):
    spoil(cloud, database, make_interaction, monkeypatch)
    assert count()[0] == 4


def test_without_the_transaction_changes_would_be_lost(
    cloud, database, count, make_interaction, monkeypatch
):
    monkeypatch.setattr(usage, "transaction", Mock(atomic=lambda alias: nullcontext()))
    spoil(cloud, database, make_interaction, monkeypatch)
    assert count()[0] == 0


def test_who_was_overtaken_counts_nothing(database, count, cloud, make_interaction, monkeypatch):
    """Two read the same page; the second to commit finds that the position has moved."""
    slow = UsageFollower(database.client)
    cloud.create_interactions_sync([make_interaction() for _ in range(4)])
    read = slow._page

    def overtaken(position):
        page = read(position)
        monkeypatch.setattr(slow, "_page", read)
        assert count()[0] == 4
        return page

    monkeypatch.setattr(slow, "_page", overtaken)
    assert slow.follow(30) is not None
    assert count()[0] == 4


# What cannot be counted.


def test_a_table_without_a_stream_is_served_and_has_no_usage(
    cloud, database, count, make_interaction, monkeypatch
):
    cloud.create_interaction_sync(make_interaction(interaction_id="a"))
    assert count()[0] == 1
    monkeypatch.setattr(stream, "TOGETHER", timedelta(days=-1))  # a test is quicker than anybody
    off = {"StreamSpecification": {"StreamEnabled": False}}
    database.client.manage("UpdateTable", TableName=database.client.table, **off)
    follower = UsageFollower(database.client)
    assert follower.follow(5) is None
    assert cloud.get_interaction_sync("a") is not None
    on = {"StreamSpecification": {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}}
    database.client.manage("UpdateTable", TableName=database.client.table, **on)
    assert UsageFollower(database.client).follow(5) is None, "what came between is not in it"


def test_another_table_does_not_go_on_with_the_numbers_of_the_first(cloud, count, dynamodb_model):
    count()
    other = make_storage(dynamodb_model, DummyCache("", {}))
    assert other.database.count_usage(5) is None


def test_a_stream_that_does_not_answer_leaves_what_is_counted(
    cloud, database, count, make_interaction, monkeypatch
):
    cloud.create_interaction_sync(make_interaction())
    until = database.count_usage(30)
    fault = ReadTimeoutError(endpoint_url="http://localhost")
    monkeypatch.setattr(database.client, "_streams", Mock(get_records=Mock(side_effect=fault)))
    found = database.count_usage(30)
    assert found is not None
    assert found <= until


# Users who are erased.


def test_changes_of_an_erased_user_that_are_counted_later_bring_nothing_back(
    cloud, database, count, make_interaction
):
    cloud.create_interaction_sync(make_interaction(interaction_id="a"))
    count()
    cloud.create_interaction_sync(make_interaction(interaction_id="b"))
    ahead = make_interaction(interaction_id="c", created_at=TODAY + timedelta(hours=20))
    cloud.create_interactions_sync([ahead, make_interaction(user_id="bob")])
    for name in ("a", "b", "c"):
        cloud.delete_interaction_sync(name)
    accounts.forget_user("ada")
    assert not UsageOfUser.objects.exists()
    assert count()[0] == 4
    assert set(UsageOfUser.objects.values_list("user_id", flat=True)) == {"bob"}
    assert "'ada'" not in str(list(ForgottenUser.objects.values_list()))  # a hash may have an ada


def test_what_the_user_says_later_counts_again(cloud, database, count, make_interaction):
    accounts.forget_user("ada")
    ForgottenUser.objects.update(at=TODAY - timedelta(minutes=1))
    cloud.create_interaction_sync(make_interaction())
    assert count(user_id="ada")[0] == 1


def test_a_restored_sql_database_knows_whose_usage_it_has_and_forgets_it(transactional_db):
    for day in (date(2026, 1, 1), date(2026, 1, 3)):
        UsageOfUser.objects.create(day=day, user_id="ada", model_used="model", interactions=1)
    assert "ada" in accounts.possible_users()
    accounts.forget_user("ada", until=datetime(2026, 1, 2, tzinfo=UTC))
    assert UsageOfUser.objects.get().day == date(2026, 1, 3)


# What it costs.


def test_a_quiet_stream_takes_two_requests_and_the_table_none(database, count, monkeypatch):
    count()
    asked = Counter()
    client = database.client
    read = client.read_stream
    monkeypatch.setattr(
        client, "read_stream", lambda op, **kw: asked.update([op]) or read(op, **kw)
    )
    monkeypatch.setattr(client, "request", lambda op, parameters: asked.update([op]))
    positions = list(StreamPosition.objects.values_list("pk", "sequence", "counted_until"))
    count()
    assert asked == {"GetRecords": 2}
    assert list(StreamPosition.objects.values_list("pk", "sequence", "counted_until")) == positions


def test_a_save_and_a_move_to_cold_are_one_write_each(database, make_interaction, monkeypatch):
    """As they were without a stream; and a stub is one write unit."""
    writes = []
    request = database.client.request

    def recorded(operation, parameters):
        if operation not in ("GetItem", "BatchGetItem"):
            writes.append((operation, parameters))
        return request(operation, parameters)

    monkeypatch.setattr(database.client, "request", recorded)
    name = "i" * 255
    row = make_interaction(interaction_id=name, model_used="m" * 255, created_at=TODAY)
    database.create(row, None)
    database.move_to_cold([row], f"{TODAY:%Y-%m-%d}/{'s' * 60}")
    assert [operation for operation, _ in writes] == ["PutItem", "PutItem"]
    stub = writes[1][1]["Item"]
    assert sum(len(key) + len(*value.values()) for key, value in stub.items()) < 1024
