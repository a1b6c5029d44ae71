"""`erase_user`: a person goes from every layer, and a receipt says so, or nothing says so."""

import json
import re
from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType

from chat.maintenance.erasure import ledger
from storage import accounts
from storage.backups import selection
from storage.backups.base import Copy
from storage.dynamodb.database import DynamoDBDatabase
from storage.models import ApiKey
from storage.models.idempotency import Idempotency
from tests.chat.maintenance.people import (
    COLD,
    HOT,
    NOW,
    erase,
    is_untouched,
    left_of,
    make_people,
    refused,
)

pytestmark = pytest.mark.every_backend(exhaustive=True)


@pytest.fixture(autouse=True)
def _no_lag(monkeypatch):
    monkeypatch.setattr(DynamoDBDatabase, "index_lag_seconds", 0)


@pytest.fixture
def people(store):
    return make_people(store)


# What a receipt says.


@pytest.mark.every_backend
def test_a_person_is_erased_and_nobody_else(store, people):
    summary = erase(store)
    (erasure,) = summary["erasures"]
    receipt = erasure["receipt"]
    assert receipt["erased"] == summary["counts"] == {"hot": 2, "cold": 2}
    assert (summary["remaining"], receipt["attempts"], receipt["looks"]) == (0, 1, 2)
    removed_at, scrubbed_at = (receipt[name] for name in ("removed_at", "scrubbed_at"))
    assert removed_at < scrubbed_at
    assert datetime.fromisoformat(scrubbed_at) <= datetime.now(UTC)
    assert left_of(store, "ada") == []
    assert store.storage.database.stubs(people["ada"]) == {}
    assert is_untouched(store, people["bob"])
    assert store.hot() == people["bob"][:2]
    assert store.cold() == people["bob"][2:]


def test_the_receipt_names_the_backups_that_have_copies_still(store, people, monkeypatch):
    copies = [
        Copy("b1", datetime(2026, 11, 25, tzinfo=UTC)),
        Copy("b2", datetime(2026, 11, 29, tzinfo=UTC)),
    ]
    monkeypatch.setattr(selection, "all_copies", lambda: copies)
    receipt = erase(store)["erasures"][0]["receipt"]
    assert receipt["copies"] == [
        {"name": "b1", "expires_at": "2026-11-25T00:00:00.000000Z"},
        {"name": "b2", "expires_at": "2026-11-29T00:00:00.000000Z"},
    ]
    assert receipt["copies_gone_by"] == "2026-11-29T00:00:00.000000Z"


def test_of_somebody_unknown_it_is_said_that_nothing_was_found(store, people):
    status, said, errors = store.told("erase_user", "nobody")
    assert status == 1
    assert errors.startswith("Nothing of this user was found, now or by an earlier erasure.")
    summary = json.loads(said)
    assert summary["status"] == "failed"
    (erasure,) = summary["erasures"]
    assert (erasure["status"], erasure["receipt"]["erased"]) == ("done", {})
    assert is_untouched(store, people["ada"] + people["bob"])
    assert [each.status for each in ledger.done(store.archive)] == ["done"], "backups may have them"


def test_a_dry_run_says_so_too(store, people):
    status, _, errors = store.told("erase_user", "nobody", "--dry-run")
    assert (status, errors.startswith("Nothing of this user was found")) == (1, True)
    assert list(ledger.done(store.archive)) == []
    ApiKey.objects.create_key(name="a phone", user_id="nobody")
    assert store.told("erase_user", "nobody", "--dry-run")[0] == 0


def test_whoever_was_erased_before_is_no_mistake(store, people):
    erase(store)
    for options in ([], ["--dry-run"]):
        status, said, errors = store.told("erase_user", "ada", *options)
        assert (status, json.loads(said)["status"]) == (0, "done")
        assert errors.startswith("Nothing was found: the user was erased on 20")


def test_once_more_is_a_new_erasure_that_finds_nothing(store, people):
    first, second = erase(store)["erasures"][0], erase(store)["erasures"][0]
    assert first["erasure_id"] != second["erasure_id"]
    assert second["receipt"]["erased"] == {}
    assert [each.status for each in ledger.done(store.archive)] == ["done", "done"]


def test_a_receipt_names_who_asked(store, people, monkeypatch):
    assert erase(store, "--requested-by", "case 4711")["erasures"][0]["requested_by"] == "case 4711"
    monkeypatch.setattr("getpass.getuser", lambda: "operator")
    assert erase(store, user_id="bob")["erasures"][0]["requested_by"] == "command:operator"


@pytest.mark.parametrize("who", ["ada", "Ada herself", "for (ADA)"])
def test_but_not_the_user(store, people, monkeypatch, who):
    status, _, errors = store.told("erase_user", "ada", "--requested-by", who)
    assert (status, errors.startswith("--requested-by has the id of the user")) == (2, True)
    assert is_untouched(store, people["ada"])
    monkeypatch.setattr("getpass.getuser", lambda: "ada")
    assert erase(store)["erasures"][0]["requested_by"] == "command"


def test_the_user_is_in_no_receipt(store, people):
    _, said, errors = store.told("erase_user", "ada", "--requested-by", "the privacy desk")
    assert not re.search(r"\bada\b", said + errors)  # a UUID may contain it
    for name, content in store._files(""):
        assert not re.search(r"\bada\b", name)
        assert b'"ada"' not in content


@pytest.mark.every_backend
def test_what_is_kept_besides_goes_too(store, storage, make_interaction):
    staff = User.objects.create(username="staff")
    key, _ = ApiKey.objects.create_key(name="ada's phone", user_id="ada")
    other, _ = ApiKey.objects.create_key(name="bob's phone", user_id="bob")
    for each in (key, other):
        LogEntry.objects.create(
            user=staff,
            content_type=ContentType.objects.get_for_model(ApiKey),
            object_id=each.pk,
            object_repr=str(each),
            action_flag=CHANGE,
        )
    for user in ("ada", "bob"):
        storage.create_interaction_sync(
            make_interaction(interaction_id=user, user_id=user), Idempotency(f"key-{user}", "r")
        )
    assert erase(store)["counts"] == {
        "hot": 1,
        "idempotency_records": 1,
        "log_entries": 1,
        "api_keys": 1,
    }
    assert [each.user_id for each in ApiKey.objects.all()] == ["bob"]
    assert [each.object_repr for each in LogEntry.objects.all()] == ["bob's phone"]
    again, made = storage.create_interaction_sync(
        make_interaction(interaction_id="new", user_id="bob"), Idempotency("key-bob", "r")
    )
    assert (again.interaction_id, made) == ("bob", False)


def test_a_key_that_only_names_the_user_goes_on_without_that_name(store, people):
    staff = User.objects.create(username="staff")
    content_type = ContentType.objects.get_for_model(ApiKey)
    named, _ = ApiKey.objects.create_key(name="Ada's phone")
    ApiKey.objects.create_key(name="Adam's phone")
    for name, pk in (("Ada's phone", named.pk), ("ada", "gone"), ("Adam's phone", "another")):
        LogEntry.objects.create(
            user=staff,
            content_type=content_type,
            object_id=pk,
            object_repr=name,
            action_flag=CHANGE,
            change_message=[{"changed": {"fields": ["Name"]}}],
        )
    counts = erase(store)["counts"]
    assert (counts["key_names"], counts["log_entries"]) == (1, 2)
    assert "api_keys" not in counts
    assert {each.name for each in ApiKey.objects.all()} == {named.prefix, "Adam's phone"}
    assert [each.object_repr for each in LogEntry.objects.all()] == ["Adam's phone"]


def test_a_key_of_the_user_stops_working(store, people, make_client):
    client = make_client("ada")
    assert client.get("/api/v1/users/ada/interactions/").status_code == 200
    erase(store)
    assert client.get("/api/v1/users/ada/interactions/").status_code == 401


@pytest.mark.every_backend
def test_expired_rows_and_those_deleted_one_by_one_go_too(store, storage, people):
    storage.delete_interaction_sync(people["ada"][2])  # cold: its bytes are there still
    store.fill(NOW - timedelta(days=200), user_id="ada")  # a purge would delete it
    assert len(left_of(store, "ada")) == 5
    erase(store)
    assert left_of(store, "ada") == []
    assert is_untouched(store, people["bob"])


@pytest.mark.every_backend
def test_more_than_one_look_can_read(store):
    ids = store.fill(*[HOT + timedelta(seconds=n) for n in range(250)], user_id="ada")
    assert erase(store)["counts"] == {"hot": len(ids)}
    assert left_of(store, "ada") == []


@pytest.mark.parametrize(
    "user_id", ["a/b", "../../etc", "x" * 255, "é😀", "a*", "%", "_", "ada/interactions", "-"]
)
@pytest.mark.every_backend
def test_any_id_can_be_erased(store, user_id):
    store.fill(HOT, COLD, user_id=user_id)
    others = store.fill(HOT, COLD, user_id="a/bc")
    store.run("archive_interactions", now=NOW)
    arguments = ["--", user_id] if user_id == "-" else [user_id]
    summary = store.run("erase_user", *arguments, now=NOW)
    assert summary["counts"] == {"hot": 1, "cold": 1}
    assert left_of(store, user_id) == []
    assert is_untouched(store, others)


# Who goes on chatting.


@pytest.mark.every_backend
def test_what_comes_in_between_two_looks_is_found(store, people, monkeypatch):
    forget = accounts.forget_user
    coming = iter([1, 2])

    def chatting(user_id):
        if next(coming, None):
            store.fill(HOT, user_id="ada")
        return forget(user_id)

    monkeypatch.setattr(accounts, "forget_user", chatting)
    receipt = erase(store)["erasures"][0]["receipt"]
    assert (receipt["erased"]["hot"], receipt["looks"]) == (4, 4)
    assert left_of(store, "ada") == []


@pytest.mark.every_backend
def test_a_lagging_index_does_not_hide_what_was_just_saved(store, monkeypatch):
    """The first look is never the last: it may have come too early."""
    (mine,) = store.fill(HOT, user_id="ada")
    database, looks = type(store.storage.database), []
    newest = database.newest_interactions

    def lagging(self, wanted):
        looks.append(wanted.user_id)
        return [] if looks == ["ada"] else newest(self, wanted)

    monkeypatch.setattr(database, "newest_interactions", lagging)
    assert erase(store)["counts"] == {"hot": 1}
    assert set(looks) == {"ada"}
    assert store.storage.get_interaction_sync(mine) is None


def test_somebody_who_never_stops_is_told_and_stays_pending(store, people, monkeypatch):
    forget = accounts.forget_user

    def chatting(user_id):
        store.fill(HOT, user_id="ada")
        return forget(user_id)

    with monkeypatch.context() as busy:
        busy.setattr(accounts, "forget_user", chatting)
        assert "keep coming in" in refused(store)
    assert erase(store, user_id=None)["remaining"] == 0
    assert left_of(store, "ada") == []
