"""`manage.py dynamodb_table upgrade` rewrites old items; nothing is lost, wherever it is killed."""

import itertools
from datetime import UTC, datetime, timedelta

import pytest
from django.core.cache.backends.dummy import DummyCache
from django.core.management import CommandError, call_command

from storage.dynamodb import items, upgrade
from storage.exceptions import StorageUnavailable
from storage.management.commands import dynamodb_table
from storage.models.interaction import FIELDS
from storage.records.questions import Question
from tests.clouds import make_storage
from tests.storage.dynamodb.old_items import to_old_item, to_old_stub

NOW = datetime.now(UTC)
LONG = "A balanced tree for disks. " * 40
RATE = 10_000


@pytest.fixture
def cloud(dynamodb_model):
    return make_storage(dynamodb_model, DummyCache("", {}))


@pytest.fixture
def client(cloud):
    return cloud.database.client


@pytest.fixture
def small_pages(client, monkeypatch):
    """A scan shows three items at once, as a megabyte would of large ones."""
    call = client.call
    monkeypatch.setattr(
        client,
        "call",
        lambda operation, **given: call(
            operation, **given, **({"Limit": 3} if operation == "Scan" else {})
        ),
    )


@pytest.fixture
def old(client, make_interaction):
    """Seven interactions that an earlier version wrote, one without an answer."""
    made = {}
    for number in range(7):
        interaction = make_interaction(
            interaction_id=f"i{number}",
            message=f"{number} {LONG}",
            response=LONG if number else "",
            created_at=NOW - timedelta(hours=number),
        )
        made[interaction.interaction_id] = interaction
        client.call("PutItem", Item=to_old_item(interaction))
    return made


def stored(client):
    found = client.call("Scan", ConsistentRead=True)["Items"]
    return {item["interaction_id"]["S"]: item for item in found}


def is_old(item):
    return bool(set(item) & set(items.OLD_NAMES))


def run(client, rate=RATE):
    *_, progress = upgrade.upgrade(client, rate)
    return progress


def same(cloud, made):
    for interaction in made.values():
        found = cloud.get_interaction_sync(interaction.interaction_id)
        for name in FIELDS:
            assert getattr(found, name) == getattr(interaction, name), name


def test_old_items_become_those_of_today_and_keep_their_content(cloud, client, old, small_pages):
    before = stored(client)
    progress = run(client)
    assert (progress.rewritten, progress.changed_by_others) == (7, 0)
    after = stored(client)
    assert after.keys() == before.keys()
    assert not any(map(is_old, after.values()))
    for name, item in after.items():
        keys = ("user_id", "position", "shard", "expires_at", "question", "answer")
        assert [item.get(key) for key in keys] == [before[name].get(key) for key in keys]
        assert item["s"] == before[name]["saved_as"]
        assert item["v"] != before[name]["version"]
    same(cloud, old)
    assert cloud.find_answer_sync(Question("ada", old["i3"].message)).interaction_id == "i3"
    assert run(client).rewritten == 0


def test_others_are_left_alone(client, make_interaction, settings):
    settings.RETENTION_TOTAL_DAYS = 90
    today = items.to_item(make_interaction(interaction_id="today"), "v")
    expired = make_interaction(interaction_id="x", created_at=NOW - timedelta(days=400))
    others = [
        today,
        to_old_item(expired),
        to_old_stub(make_interaction(interaction_id="cold"), "segment"),
        items.key_of("\x1flock#x") | {"owner": {"S": "o"}, "until": {"N": "1"}},
    ]
    for item in others:
        client.call("PutItem", Item=item)
    before = stored(client)
    assert run(client).rewritten == 0
    assert stored(client) == before


class Killed(Exception):
    """The process is gone."""


@pytest.mark.parametrize("after", [False, True])
def test_it_can_be_killed_at_any_step_and_goes_on(
    cloud, client, old, small_pages, monkeypatch, after
):
    call = client.call
    for step in itertools.count(1):
        done = itertools.count(1)

        def killed(operation, *, step=step, done=done, **given):
            dies = next(done) == step
            if dies and not after:
                raise Killed
            answer = call(operation, **given)
            if dies:
                raise Killed
            return answer

        with monkeypatch.context() as patched:
            patched.setattr(client, "call", killed)
            patched.setattr(upgrade, "AT_ONCE", 1)
            try:
                run(client)
            except Killed:
                same(cloud, old)
                continue
        break
    assert step > 3
    run(client)
    assert not any(map(is_old, stored(client).values()))
    same(cloud, old)


def test_it_goes_on_where_it_was(client, old, small_pages):
    first = next(upgrade.upgrade(client, RATE))
    assert first.seen == 3
    assert run(client).seen < 7 + 1  # not the three again, but the item that remembers
    assert upgrade.ID not in stored(client)
    assert run(client).seen == 7, "the next begins anew"


def test_a_change_meanwhile_is_not_lost(cloud, client, old, monkeypatch):
    rewrite = upgrade.rewrite

    def late(client, item):
        name = item["interaction_id"]["S"]
        if name == "i1":
            cloud.update_interaction_sync(name, {"response": "changed meanwhile"})
        if name == "i2":
            cloud.delete_interaction_sync(name)
        return rewrite(client, item)

    monkeypatch.setattr(upgrade, "rewrite", late)
    progress = run(client)
    assert (progress.rewritten, progress.changed_by_others) == (5, 2)
    assert cloud.get_interaction_sync("i1").response == "changed meanwhile"
    assert cloud.get_interaction_sync("i2") is None
    assert not any(map(is_old, stored(client).values()))


def test_a_lost_answer_is_no_change_by_others(client, old, monkeypatch):
    """DynamoDB has done it, and the request is sent again: the condition then fails."""
    call = client.call

    def twice(operation, **given):
        if operation == "UpdateItem":
            call(operation, **given)
        return call(operation, **given)

    monkeypatch.setattr(client, "call", twice)
    assert run(client).rewritten == 7


def test_it_keeps_to_its_rate(client, old, monkeypatch):
    slept = []
    monkeypatch.setattr(upgrade.time, "monotonic", lambda: 1000.0)
    monkeypatch.setattr(upgrade.time, "sleep", slept.append)
    run(client, rate=10)
    assert sum(slept) == pytest.approx(0.7)


@pytest.fixture
def command(client, monkeypatch, capsys):
    monkeypatch.setattr(dynamodb_table, "configured_client", lambda: client)

    def command(*arguments):
        call_command("dynamodb_table", "upgrade", *arguments)
        return capsys.readouterr().out.splitlines()

    return command


def test_the_command_says_what_is_left_and_what_it_did(client, old, command):
    before = stored(client)
    would = "7 of 7 items would be rewritten, which takes at least 1 s."
    assert command("--dry-run") == [would]
    assert stored(client) == before
    assert command("--rate", "10000") == [
        "Looked at 7 items, rewrote 7.",
        "That was the end of the table. --dry-run counts what is left.",
    ]
    assert command("--dry-run")[0].startswith("0 of 7 items would be rewritten")


@pytest.mark.parametrize("rate", ["0", "-1", "10001", "fast"])
def test_a_wrong_rate_is_refused(command, rate):
    with pytest.raises(CommandError, match="must be a whole number from 1 to 10000"):
        command(f"--rate={rate}")


def test_what_dynamodb_refuses_is_one_line(client, command, monkeypatch):
    def refused(operation, **given):
        raise StorageUnavailable("DynamoDB did not complete Scan: ThrottlingException.")

    monkeypatch.setattr(client, "call", refused)
    with pytest.raises(CommandError, match="did not complete Scan"):
        command()
