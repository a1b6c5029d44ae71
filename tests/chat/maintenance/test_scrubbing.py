"""The second step of erasures: no bytes are left in the files of SQLite."""

import json
from contextlib import closing
from datetime import UTC, datetime

import pytest
from django.db import connection

from chat.maintenance.erasure import ledger
from storage.backups import selection
from storage.backups.base import Copy
from storage.sqlite import checkpoints
from tests.chat.maintenance.people import erase, left_of, make_people, refused
from tests.sqlite import connect


@pytest.fixture
def people(store):
    return make_people(store)


def test_a_reader_that_keeps_the_log_does_not_keep_the_user(store, people, monkeypatch, caplog):
    """Nobody can read anything of the user, and later no byte is left."""
    monkeypatch.setattr(checkpoints, "SECONDS", 0)
    file = str(connection.settings_dict["NAME"])
    with closing(connect(file, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM storage_chatinteraction").fetchone()
        status, said, errors = store.told("erase_user", "ada")
        (removed,) = json.loads(said)["erasures"]
        assert (status, removed["status"]) == (0, "removed")
        assert removed["receipt"]["erased"] == {"hot": 2, "cold": 2}
        assert "until `erase_user --pending` has overwritten them" in errors
        assert "log cannot be emptied" in caplog.text
        assert left_of(store, "ada") == []
        assert "log cannot be emptied" in refused(store, user_id=None)
    (done,) = erase(store, user_id=None)["erasures"]
    assert done["receipt"]["removed_at"] == removed["receipt"]["removed_at"]
    assert done["receipt"]["scrubbed_at"] > removed["receipt"]["removed_at"]


def test_one_pass_is_for_all_of_a_night(store, people, monkeypatch):
    """And for those of earlier runs that were stopped."""
    passes = []
    scrub = type(store.storage.database).scrub
    monkeypatch.setattr(
        type(store.storage.database),
        "scrub",
        lambda self, *each: passes.append(1) or scrub(self, *each),
    )
    with monkeypatch.context() as large:
        large.setattr(type(store.storage.database), "scrub_seconds", lambda self: 86_400.0)
        assert erase(store)["unscrubbed"] == 1
    for user in ("bob", "carl", "dora"):
        ledger.request(store.archive, user)
    summary = erase(store, user_id=None)
    assert [each["status"] for each in summary["erasures"]] == ["done"] * 4
    assert (summary["remaining"], summary["unscrubbed"], len(passes)) == (0, 0, 1)


def test_a_backup_of_what_was_not_scrubbed_is_in_the_receipt(store, people, monkeypatch):
    """It may have copied bytes that nobody could read any more."""
    copies = []
    monkeypatch.setattr(selection, "all_copies", lambda: list(copies))
    with monkeypatch.context() as large:
        large.setattr(type(store.storage.database), "scrub_seconds", lambda self: 86_400.0)
        assert erase(store)["erasures"][0]["receipt"]["copies"] == []
    copies.append(Copy("b1", datetime(2026, 11, 29, tzinfo=UTC)))
    (done,) = erase(store, user_id=None)["erasures"]
    assert [each["name"] for each in done["receipt"]["copies"]] == ["b1"]
