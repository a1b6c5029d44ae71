"""`erase_user`: a person goes from every layer, and a receipt says so, or nothing says so."""

import json
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.db import connection

from chat.management.commands import erase_user
from storage.archive import ledger
from storage.archive.files import Files
from storage.dynamodb.tiers import CloudTiers
from storage.exceptions import CacheNotErased, StorageUnavailable
from storage.lifecycle import accounts, backups, erasing
from storage.lifecycle.policy import Policy
from storage.lifecycle.runs import LOCK, Run
from storage.models import ApiKey, ChatInteraction
from storage.models.idempotency import Idempotency
from storage.sqlite import space
from tests.sqlite import connect

pytestmark = pytest.mark.every_backend

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
HOT = NOW - timedelta(days=2)
COLD = NOW - timedelta(days=40)


@pytest.fixture(autouse=True)
def _no_lag(monkeypatch):
    monkeypatch.setattr(CloudTiers, "index_lag_seconds", 0)


@pytest.fixture
def people(store):
    """Interactions of ada and bob, hot and cold; the ids of each."""
    ids = {
        user: store.fill(HOT, HOT, COLD, COLD + timedelta(seconds=1), user_id=user)
        for user in ("ada", "bob")
    }
    store.run("archive_interactions", now=NOW)
    return ids


def erase(store, *arguments, status=0, user_id="ada"):
    who = ["--pending"] if user_id is None else [user_id]
    return store.run("erase_user", *who, *arguments, now=NOW, status=status)


def refused(store, *arguments, user_id="ada"):
    """Run it, to fail; what it says, the reason last."""
    who = ["--pending"] if user_id is None else [user_id]
    status, said, errors = store.told("erase_user", "--now", NOW.isoformat(), *who, *arguments)
    assert status == 1
    assert json.loads(said)["status"] == "failed"
    return errors


def left_of(store, user_id):
    """The ids of a user's interactions that are stored in any way."""
    hot = [each.interaction_id for each in store._hot() if each.user_id == user_id]
    rows = [row for segment in store.segments() for row in store.archive.rows(segment)]
    return hot + [row.interaction_id for row in rows if row.user_id == user_id]


def is_untouched(store, ids):
    store.check_readable(ids)
    return True


# What a receipt says.


def test_a_person_is_erased_and_nobody_else(store, people):
    summary = erase(store)
    (erasure,) = summary["erasures"]
    receipt = erasure["receipt"]
    assert receipt["erased"] == summary["counts"] == {"hot": 2, "cold": 2}
    assert (summary["remaining"], receipt["attempts"], receipt["looks"]) == (0, 1, 2)
    assert datetime.fromisoformat(receipt["finished_at"]) <= datetime.now(UTC)
    assert left_of(store, "ada") == []
    assert store.storage.stubs_sync(people["ada"]) == {}
    assert is_untouched(store, people["bob"])
    assert store.hot() == people["bob"][:2]
    assert store.cold() == people["bob"][2:]


def test_the_receipt_names_the_backups_that_have_copies_still(store, people, monkeypatch):
    copies = [
        {"name": "b1", "expires_at": "2026-11-25T00:00:00.000000Z"},
        {"name": "b2", "expires_at": "2026-11-29T00:00:00.000000Z"},
    ]
    monkeypatch.setattr(backups, "copies", lambda: copies)
    receipt = erase(store)["erasures"][0]["receipt"]
    assert receipt["copies"] == copies
    assert receipt["copies_gone_by"] == copies[1]["expires_at"]


def test_of_somebody_unknown_nothing_is_found_and_that_is_the_receipt(store, people):
    erasure = erase(store, user_id="nobody")["erasures"][0]
    assert (erasure["status"], erasure["receipt"]["erased"]) == ("done", {})
    assert is_untouched(store, people["ada"] + people["bob"])


def test_once_more_is_a_new_erasure_that_finds_nothing(store, people):
    first, second = erase(store)["erasures"][0], erase(store)["erasures"][0]
    assert first["erasure_id"] != second["erasure_id"]
    assert second["receipt"]["erased"] == {}
    assert [each.status for each in ledger.done(store.archive)] == ["done", "done"]


def test_the_user_is_in_no_receipt(store, people):
    _, said, errors = store.told("erase_user", "ada")
    assert "ada" not in said + errors
    for name, content in store._files(""):
        assert "ada" not in name
        assert b'"ada"' not in content


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
        "idempotency records": 1,
        "log entries": 1,
        "API keys": 1,
    }
    assert [each.user_id for each in ApiKey.objects.all()] == ["bob"]
    assert [each.object_repr for each in LogEntry.objects.all()] == ["bob's phone"]
    again, made = storage.create_interaction_sync(
        make_interaction(interaction_id="new", user_id="bob"), Idempotency("key-bob", "r")
    )
    assert (again.interaction_id, made) == ("bob", False)


def test_expired_rows_and_those_deleted_one_by_one_go_too(store, storage, people):
    storage.delete_interaction_sync(people["ada"][2])  # cold: its bytes are there still
    store.fill(NOW - timedelta(days=200), user_id="ada")  # a purge would delete it
    assert len(left_of(store, "ada")) == 5
    erase(store)
    assert left_of(store, "ada") == []
    assert is_untouched(store, people["bob"])


def test_more_than_one_look_can_read(store):
    ids = store.fill(*[HOT + timedelta(seconds=n) for n in range(250)], user_id="ada")
    assert erase(store)["counts"] == {"hot": len(ids)}
    assert left_of(store, "ada") == []


@pytest.mark.parametrize(
    "user_id", ["a/b", "../../etc", "x" * 255, "é😀", "a*", "%", "_", "ada/interactions", "-"]
)
def test_any_id_can_be_erased(store, user_id):
    store.fill(HOT, COLD, user_id=user_id)
    others = store.fill(HOT, COLD, user_id="a/bc")
    store.run("archive_interactions", now=NOW)
    arguments = ["--", user_id] if user_id == "-" else [user_id]
    summary = store.run("erase_user", *arguments, now=NOW)
    assert summary["counts"] == {"hot": 1, "cold": 1}
    assert left_of(store, user_id) == []
    assert is_untouched(store, others)


# What keeps it from being done.


def test_one_damaged_segment_is_named_and_leaves_no_receipt(store, people):
    (segment,) = store.segments()
    data = store.archive.manifest(segment).data
    intact = store.archive.files.read(data)
    store.archive.files.write(data, intact[:-1] + bytes([intact[-1] ^ 1]))
    assert data in refused(store)
    (erasure,) = ledger.pending(store.archive)
    assert data in erasure.problem
    assert list(ledger.done(store.archive)) == []
    store.archive.files.write(data, intact)
    (done,) = erase(store)["erasures"]
    assert done["erasure_id"] == erasure.erasure_id
    assert (done["problem"], done["receipt"]["attempts"]) == (None, 2)
    assert done["receipt"]["erased"] == {"hot": 2, "cold": 2}, "both attempts count"
    assert left_of(store, "ada") == []


def test_rows_whose_manifest_is_lost_are_not_passed_over(store, people):
    (segment,) = store.segments()
    store.archive.files.delete(f"{segment}.json")
    assert f"{segment}.json" in refused(store)
    assert list(ledger.done(store.archive)) == []


def test_one_that_fails_keeps_no_other_from_being_erased(store, people):
    carl = store.fill(COLD - timedelta(days=1), user_id="carl")
    store.run("archive_interactions", now=NOW)
    damaged = store.archive.manifest(store.segments()[0]).data
    store.archive.files.write(damaged, b"damaged")
    for user in ("carl", "ada", "nobody"):
        ledger.request(store.archive, user)
    errors = refused(store, user_id=None)
    assert damaged in errors
    assert "carl" not in errors
    assert [each.user_id for each in ledger.pending(store.archive)] == ["carl"]
    assert len(list(ledger.done(store.archive))) == 2
    assert sorted(left_of_intact(store, "ada")) == []
    assert store.storage.stubs_sync(carl) != {}


def left_of_intact(store, user_id):
    hot = [each.interaction_id for each in store._hot() if each.user_id == user_id]
    rows = store.archive.rows(store.segments()[1])
    return hot + [row.interaction_id for row in rows if row.user_id == user_id]


def test_a_damaged_request_keeps_no_other_from_being_done_or_made(store, people):
    lost = ledger.request(store.archive, "carl")
    name = f"{ledger.PENDING}/{lost.erasure_id}.json"
    store.archive.files.write(name, b"damaged")
    ledger.request(store.archive, "ada")
    assert name in refused(store, user_id=None)
    assert left_of(store, "ada") == []
    assert erase(store, user_id="bob")["counts"] == {"hot": 2, "cold": 2}


def test_without_requests_there_is_nothing_to_do(store, people):
    assert erase(store, user_id=None)["erasures"] == []
    assert is_untouched(store, people["ada"])


def test_a_cache_that_does_not_confirm(store, people, monkeypatch):
    def fail(*_):
        raise CacheNotErased

    with monkeypatch.context() as broken:
        broken.setattr(type(store.storage), "_forget_user", fail)
        assert "cache" in refused(store)
    assert [each.status for each in ledger.pending(store.archive)] == ["pending"]
    assert erase(store, user_id=None)["erasures"][0]["receipt"]["erased"] == {"hot": 2, "cold": 2}


def test_beside_another_run_nothing_is_done(store, people, storage):
    assert storage.take_lock_sync(LOCK, "another", 60)
    assert "Another maintenance run" in refused(store)
    assert is_untouched(store, people["ada"])
    storage.release_lock_sync(LOCK, "another")


def test_a_run_that_has_no_time_goes_on_with_the_next(store, people):
    summary = erase(store, "--max-seconds", 0, status=3)
    assert (summary["status"], summary["remaining"]) == ("stopped", 1)
    assert [each.problem for each in ledger.pending(store.archive)] == [None]
    assert erase(store, "--max-seconds", 0, status=3, user_id=None)["remaining"] == 1
    assert erase(store, user_id=None)["remaining"] == 0
    assert left_of(store, "ada") == []


def test_those_who_are_gone_have_their_receipts_when_the_time_is_up(store, people, monkeypatch):
    for user in ("ada", "bob", "carl"):
        ledger.request(store.archive, user)
    removed = erasing._removed

    def slow(storage, erasure, policy, run, report):
        gone = removed(storage, erasure, policy, run, report)
        if erasure.user_id == "bob":
            run.stop()
        return gone

    monkeypatch.setattr(erasing, "_removed", slow)
    summary = erase(store, user_id=None, status=3)
    assert (len(summary["erasures"]), summary["remaining"]) == (2, 1)
    assert [each.user_id for each in ledger.pending(store.archive)] == ["carl"]


def test_a_dry_run_counts_and_changes_nothing(store, people):
    ledger.request(store.archive, "bob")
    before = store.state()
    assert erase(store, "--dry-run")["counts"] == {"hot": 2, "cold": 2}
    assert erase(store, "--dry-run", user_id=None)["counts"] == {"hot": 2, "cold": 2}
    assert store.state() == before


@pytest.mark.parametrize("arguments", [[], ["ada", "--pending"], [""], ["a\nb"], ["x" * 256]])
def test_wrong_use(store, arguments, capsys):
    with pytest.raises(SystemExit) as end:
        erase_user.Command().run_from_argv(["manage.py", "erase_user", *arguments])
    assert end.value.code == 2
    assert ledger.pending_ids(store.archive) == []


# Who goes on chatting.


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


def test_a_lagging_index_does_not_hide_what_was_just_saved(store, monkeypatch):
    """The first look is never the last: it may have come too early."""
    (mine,) = store.fill(HOT, user_id="ada")
    newest, looks = type(store.storage)._newest, []

    def lagging(self, wanted):
        looks.append(wanted)
        return ([], False) if len(looks) == 1 else newest(self, wanted)

    monkeypatch.setattr(type(store.storage), "_newest", lagging)
    assert erase(store)["counts"] == {"hot": 1}
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


# Requests.


def test_a_request_that_is_pending_is_given_again(archive):
    first = ledger.request(archive, "ada")
    assert ledger.request(archive, "bob") != first
    assert ledger.request(archive, "ada") == first
    assert [each.user_id for each in ledger.pending(archive)] == ["ada", "bob"]


def test_the_death_between_receipt_and_request_leaves_it_done(store, people, monkeypatch):
    delete = Files.delete

    def dying(self, name):
        if name.startswith(ledger.PENDING):
            raise StorageUnavailable("killed here")
        delete(self, name)

    with monkeypatch.context() as killed:
        killed.setattr(Files, "delete", dying)
        refused(store)
    (done,) = ledger.done(store.archive)
    assert ledger.find(store.archive, done.erasure_id) == done
    assert list(ledger.pending(store.archive)) == []
    assert erase(store, user_id=None)["erasures"] == []
    assert ledger.pending_ids(store.archive) == []
    assert list(ledger.done(store.archive)) == [done], "its receipt stays what it was"


def test_an_erasure_that_another_run_has_done_is_not_done_again(store, people):
    known = erasing.request(store.storage, "ada")
    erase(store, user_id=None)
    (done,) = ledger.done(store.archive)
    with Run(store.storage) as run:
        policy = Policy.at(NOW)
        found = erasing.attempt(store.storage, known, policy, run, erasing.Erased())
    assert found == done
    assert ledger.pending_ids(store.archive) == []


# The files of SQLite.


@pytest.mark.on_sqlite("the write-ahead log is SQLite's")
def test_a_reader_that_keeps_the_log_is_told_and_it_stays_pending(store, people):
    reader = connect(str(connection.settings_dict["NAME"]), isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM storage_chatinteraction").fetchone()
    assert "log cannot be emptied" in refused(store)
    reader.close()
    (done,) = erase(store, user_id=None)["erasures"]
    assert done["receipt"]["erased"] == {"hot": 2, "cold": 2}


@pytest.mark.on_sqlite("DynamoDB's files are its own")
def test_copies_that_secure_delete_leaves_in_pages_go(storage, make_interaction):
    """See Note [What secure_delete leaves]. Which rows leave some depends on how pages divide."""
    found = [copies_left(storage, make_interaction, seed) for seed in range(6)]
    assert sum(before for before, _ in found) > 0, "no copies were left, so this tests nothing"
    assert [after for _, after in found] == [0] * len(found)


def copies_left(storage, make_interaction, seed):
    """Copies of a user's text in the database's files: after its rows are gone, and scrubbed."""
    chosen = random.Random(seed)
    for _ in range(20):
        made = []
        for _ in range(50):
            mine = chosen.random() < 0.5
            user = "marker" if mine else f"user{chosen.randrange(9)}"
            made.append(
                make_interaction(
                    interaction_id=f"{user}-{chosen.getrandbits(128):032x}".ljust(200, "y"),
                    user_id=user.ljust(200, "x"),
                    message="m" * chosen.randrange(100),
                    response="a" * chosen.randrange(300),
                    created_at=HOT + timedelta(microseconds=chosen.randrange(10**10)),
                )
            )
        storage.create_interactions_sync(made)
    user = "marker".ljust(200, "x")
    while rows := storage.hot_of_user_sync(user, 100):
        storage.erase_hot_sync(rows, user)
    space.empty_log(storage._statements)
    before = in_files()
    storage.scrub_sync()
    after = in_files()
    ChatInteraction.objects.all().delete()
    return before, after


def in_files():
    file = Path(connection.settings_dict["NAME"])
    files = file.parent.glob(f"{file.name}*")
    return sum(each.read_bytes().count(b"marker") for each in files)
