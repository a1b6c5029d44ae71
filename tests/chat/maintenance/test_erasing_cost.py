"""What an erasure costs follows what is asked for, not what is stored or pending: counted."""

from datetime import timedelta

import pytest

from chat.maintenance import holds
from chat.maintenance.erasure import erasing, ledger
from chat.maintenance.erasure.attempt import UserHeld
from chat.maintenance.holds import Hold, Holds
from storage.archive import pseudonyms
from storage.archive.archive import Archive
from storage.dynamodb.database import DynamoDBDatabase
from tests.chat.maintenance.people import COLD, HOT, NOW, erase
from tests.chat.maintenance.test_cost import counted, files_used, requests

__all__ = ["files_used", "requests"]

pytestmark = pytest.mark.every_backend(exhaustive=True)


@pytest.fixture(autouse=True)
def _no_lag(monkeypatch):
    monkeypatch.setattr(DynamoDBDatabase, "index_lag_seconds", 0)


def test_a_request_costs_the_same_however_many_are_pending(store, files_used):
    def cost(user_id):
        files_used.clear()
        erasing.request(store.storage, user_id, "a test")
        return dict(files_used)

    cost("first")  # takes the archive into use
    alone = cost("ada")
    for number in range(30):
        ledger.request(store.archive, f"user-{number}")
    assert cost("bob") == alone
    repeated = cost("bob")
    assert repeated.get("write") is None
    assert repeated["read"] <= alone["read"] + 3


def test_a_user_with_an_old_key_or_from_an_old_version_is_not_asked_for_twice(store, settings):
    first = ledger.request(store.archive, "ada")
    old = ledger.request(store.archive, "bob")
    store.archive.files.delete(f"{ledger.USERS}/{old.pseudonym}.json")  # as version 0.2 left it
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "another key, that is long enough to be one"
    assert ledger.request(store.archive, "ada") == first
    store.fill(HOT, user_id="bob")
    summary = erase(store, user_id=None)
    assert [each["status"] for each in summary["erasures"]] == ["done", "done"]
    assert summary["counts"] == {"hot": 1}
    assert store.archive.files.list(ledger.USERS) == []


def test_many_erasures_cost_so_many_times_one(store, files_used):
    def cost(count):
        for number in range(count):
            ledger.request(store.archive, f"user-{number}")
        files_used.clear()
        assert erase(store, user_id=None)["remaining"] == 0
        return files_used.copy()

    cost(1)
    few, more = cost(10), cost(30)
    for name in ("list", "folders"):
        assert more[name] == few[name], "lists are not made for each"
    for name in ("read", "write", "delete"):
        assert more[name] <= 3 * few[name]


@pytest.mark.every_backend
def test_each_segment_is_looked_at_once_for_all_users(store, monkeypatch):
    users = [f"user-{number}" for number in range(8)]
    for user in (*users, "stays"):
        store.fill(COLD, COLD - timedelta(days=1), user_id=user)
    store.run("archive_interactions", now=NOW)
    used = counted(monkeypatch, Archive, ("ids_of", "mark", "rewrite"))
    for user in users:
        ledger.request(store.archive, user)
    assert erase(store, user_id=None)["counts"] == {"cold": 16}
    assert dict(used) == {"ids_of": 2, "mark": 2, "rewrite": 2}, "of two segments"


def test_legal_holds_are_read_once_a_run(store, files_used, monkeypatch):
    for user in ("ada", "bob"):
        store.fill(COLD, COLD - timedelta(days=1), user_id=user)
    store.run("archive_interactions", now=NOW)
    for number in range(20):
        holds.put(store.archive, Hold("user", f"held-{number}", "case", NOW))
    used = counted(monkeypatch, Holds, ("__init__",))
    for user in ("ada", "bob"):
        ledger.request(store.archive, user)
    assert erase(store, user_id=None)["counts"] == {"cold": 4}
    assert used["__init__"] == 1


def test_a_request_reads_no_holds_on_others(store, files_used):
    def cost():
        files_used.clear()
        with pytest.raises(UserHeld):
            erasing.request(store.storage, "ada", "a test")
        return files_used["read"]

    erasing.request(store.storage, "first", "a test")
    holds.put(store.archive, Hold("user", "ada", "case", NOW))
    alone = cost()
    for number in range(20):
        holds.put(store.archive, Hold("user", f"held-{number}", "case", NOW))
    assert cost() == alone


def test_pseudonyms_of_held_users_are_made_once(store, monkeypatch):
    for days in range(5):
        store.fill(COLD - timedelta(days=days), user_id="ada")
    store.run("archive_interactions", now=NOW)
    some = Holds([Hold("user", f"held-{number}", "case", NOW) for number in range(4)])
    used = counted(monkeypatch, pseudonyms, ("_digits",))
    manifests = [store.archive.manifest(segment) for segment in store.segments()]
    assert not some.may_hold(manifests[0])
    once = used["_digits"]
    assert not any(some.may_hold(manifest) for manifest in manifests)
    assert used["_digits"] == once
    assert Holds([Hold("user", "ada", "case", NOW)]).may_hold(manifests[0])


@pytest.mark.every_backend
def test_three_rows_of_a_table_cost_the_same_requests_whatever_else_it_has(store, requests):
    if not requests and not hasattr(store.storage.database, "client"):
        pytest.skip("requests are those to DynamoDB")

    def cost(user_id):
        store.fill(HOT, COLD, COLD + timedelta(seconds=1), user_id=user_id)
        store.run("archive_interactions", now=NOW)
        requests.clear()
        assert erase(store, user_id=user_id)["counts"] == {"hot": 1, "cold": 2}
        return dict(requests)

    small = cost("ada")
    store.fill(*[HOT + timedelta(seconds=n) for n in range(300)], user_id="bob")
    assert cost("carl") == small
