"""What keeps an erasure from being done: it says so, leaves no receipt, and goes on later."""

import os
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from chat.maintenance.erasure import erasing, ledger
from chat.maintenance.erasure.attempt import Attempt
from chat.maintenance.policy import Policy
from chat.maintenance.runs import LOCK, LockLost, Run
from chat.management.commands import erase_user
from storage import accounts
from storage.archive.files import Files
from storage.archive.folder import TEMPORARY
from storage.dynamodb.database import DynamoDBDatabase
from storage.exceptions import CacheNotErased, StorageUnavailable
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
    assert store.storage.database.stubs(carl) != {}


def test_a_marked_segment_that_is_damaged_keeps_nobody_else_from_being_erased(store, people):
    """As a deletion leaves it, or an erasure of somebody else in it."""
    store.fill(COLD - timedelta(days=1), user_id="carl")
    store.run("archive_interactions", now=NOW)
    segment = store.segments()[0]
    damaged = store.archive.manifest(segment).data
    store.archive.files.write(damaged, b"damaged")
    store.archive.mark(segment)
    assert erase(store)["counts"] == {"hot": 2, "cold": 2}
    assert damaged in refused(store, user_id="carl")
    store.archive.files.write(f"{segment}.json", b"damaged")
    assert f"{segment}.json" in refused(store, user_id="bob"), "whose rows it has, nobody can tell"


def left_of_intact(store, user_id):
    hot = [each.interaction_id for each in store._hot() if each.user_id == user_id]
    rows = store.archive.rows(store.segments()[1])
    return hot + [row.interaction_id for row in rows if row.user_id == user_id]


def test_a_damaged_pointer_to_a_request_keeps_no_receipt_back(store, people):
    """It only leads to the request, and nobody has a copy of it."""
    erasure = ledger.request(store.archive, "ada")
    store.archive.files.write(f"{ledger.USERS}/{erasure.pseudonym}.json", b"damaged")
    (done,) = erase(store, user_id=None)["erasures"]
    assert (done["erasure_id"], done["status"]) == (erasure.erasure_id, "done")
    assert list(ledger.pending(store.archive)) == []
    assert store.archive.files.list(ledger.USERS) == []


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


@pytest.mark.every_backend
def test_a_cache_that_does_not_confirm(store, people, monkeypatch):
    def fail(*_):
        raise CacheNotErased

    with monkeypatch.context() as broken:
        broken.setattr(type(store.storage.database), "forget_user", fail)
        assert "cache" in refused(store)
    assert [each.status for each in ledger.pending(store.archive)] == ["pending"]
    assert erase(store, user_id=None)["erasures"][0]["receipt"]["erased"] == {"hot": 2, "cold": 2}


@pytest.mark.every_backend
def test_beside_another_run_nothing_is_done(store, people, storage):
    assert storage.database.acquire_lock(LOCK, "another", 60)
    assert "Another maintenance run" in refused(store)
    assert is_untouched(store, people["ada"])
    storage.database.release_lock(LOCK, "another")


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
    monkeypatch.setattr(erasing, "USERS_AT_ONCE", 2)
    remove = Attempt.remove

    def slow(self, make_compaction):
        remove(self, make_compaction)
        self.run.stop()

    monkeypatch.setattr(Attempt, "remove", slow)
    summary = erase(store, user_id=None, status=3)
    assert [each["status"] for each in summary["erasures"]] == ["removed", "removed"]
    assert (summary["remaining"], summary["unscrubbed"]) == (1, 2)
    assert [each.user_id for each in ledger.pending(store.archive)] == ["carl"]
    assert left_of(store, "ada") == left_of(store, "bob") == []


@pytest.mark.every_backend
def test_who_was_gone_when_the_lock_was_lost_stays_pending(store, people, monkeypatch):
    """Another run may be at work on them by now."""
    for user in ("ada", "bob"):
        ledger.request(store.archive, user)
    forget, settle = accounts.forget_user, Attempt._let_settle

    def chatting(user_id):
        if user_id == "bob":
            store.fill(HOT, user_id="bob")
        return forget(user_id)

    def losing(self, removal, users):
        if users == ["bob"]:
            assert list(self.gone) == ["ada"]
            raise LockLost
        settle(self, removal, users)

    with monkeypatch.context() as patch:
        patch.setattr(accounts, "forget_user", chatting)
        patch.setattr(Attempt, "_let_settle", losing)
        assert "lock of this run has ended" in refused(store, user_id=None)
    assert [each.user_id for each in ledger.pending(store.archive)] == ["ada", "bob"]
    assert list(ledger.to_scrub(store.archive)) == []
    assert erase(store, user_id=None)["remaining"] == 0


@pytest.mark.every_backend
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


# Requests.


def test_a_request_that_is_pending_is_given_again(archive):
    first = ledger.request(archive, "ada")
    assert ledger.request(archive, "bob") != first
    assert ledger.request(archive, "ada") == first
    assert [each.user_id for each in ledger.pending(archive)] == ["ada", "bob"]


def test_the_end_of_one_leaves_a_later_one_to_be_given_again(archive):
    first = ledger.request(archive, "ada")
    archive.files.write(f"{ledger.USERS}/{first.pseudonym}.json", b"damaged")
    second = ledger.request(archive, "ada")
    assert second != first
    ledger.finish(archive, first, {"removed_at": "2026-11-22T00:00:00Z"})
    assert ledger.request(archive, "ada") == second


@pytest.mark.on_sqlite("in a bucket there is no file that is half written")
@pytest.mark.parametrize("of", ["this request", "one that was never made"])
def test_what_a_crash_has_left_of_a_request_goes(store, people, of):
    """It names the user."""
    erasure = ledger.request(store.archive, "ada")
    name = erasure.erasure_id if of == "this request" else str(uuid4())
    left = Path(store.archive.files.backend.path(f"{ledger.PENDING}/{name}.json.0123{TEMPORARY}"))
    left.write_text('{"user_id": "ada"')
    if of != "this request":
        os.utime(left, (0, 0))  # a younger one may still be being written
    erase(store, user_id=None)
    assert not left.exists()


def test_the_death_between_receipt_and_request_leaves_it_done(store, people, monkeypatch):
    delete = Files.delete

    def dying(self, name):
        if name.startswith(ledger.PENDING):
            raise StorageUnavailable("killed here")
        delete(self, name)

    with monkeypatch.context() as killed:
        killed.setattr(Files, "delete", dying)
        refused(store)
    (removed,) = ledger.to_scrub(store.archive)
    assert ledger.find(store.archive, removed.erasure_id) == removed
    assert list(ledger.pending(store.archive)) == []
    (record,) = erase(store, user_id=None)["erasures"]
    assert (record["erasure_id"], record["status"]) == (removed.erasure_id, "done")
    assert ledger.pending_ids(store.archive) == []
    (done,) = ledger.done(store.archive)
    assert done.receipt["removed_at"] == removed.receipt["removed_at"]
    assert erase(store, user_id=None)["erasures"] == []
    assert list(ledger.done(store.archive)) == [done], "its receipt stays what it was"


def test_an_erasure_that_another_run_has_done_is_not_done_again(store, people):
    known = erasing.request(store.storage, "ada", "a test")
    erase(store, user_id=None)
    (done,) = ledger.done(store.archive)
    with Run(store.storage) as run:
        job = erasing.Job(store.storage, Policy.at(NOW), run, erasing.Erased())
        found = job.attempt(known)
    assert found == done
    assert ledger.pending_ids(store.archive) == []
