"""Runs, deletions and erasures that cross with one another, though only one run is to be at work.

A machine may stand still in the middle of a step for longer than its lock lasts.
"""

import threading
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest

from chat.maintenance import archiving, purging, runs
from chat.maintenance.compaction import Compaction
from chat.maintenance.holds import Holds
from chat.maintenance.policy import Policy
from chat.maintenance.runs import LockLost, Run
from storage.archive import manifests, names
from storage.archive.archive import Archive
from storage.dynamodb import cold
from storage.exceptions import StorageUnavailable
from tests.chat.maintenance.stepping import forget_locks

NOW = datetime.now(UTC)
OLD = NOW - timedelta(days=40)
POLICY = Policy(NOW, hot_days=30, total_days=90)


@pytest.fixture
def ids(store):
    return store.fill(*[OLD + timedelta(microseconds=number) for number in range(20)])


def archive(store):
    with Run(store.storage, now=NOW) as run:
        archiving.archive(store.storage, POLICY, run, archiving.Archived())


def purge(store):
    with Run(store.storage, now=NOW) as run:
        purging.purge(store.storage, POLICY, run, purging.Purged())


@pytest.fixture
def stand_still(store, monkeypatch):
    """Before stubs are put for the n-th time, the lock ends and another run comes and goes."""
    real = store.storage.database.move_to_cold
    monkeypatch.setattr(archiving, "MOVED_AT_ONCE", 10)

    def stand_still(at):
        calls = 0

        def move(interactions, segment):
            nonlocal calls
            calls += 1
            if calls == at:
                forget_locks(store.storage)
                purge(store)
            return real(interactions, segment)

        monkeypatch.setattr(store.storage.database, "move_to_cold", move)

    return stand_still


@pytest.mark.every_backend
def test_what_is_deleted_and_imported_again_while_it_is_read_is_archived_once(
    store, monkeypatch, make_interaction
):
    """The day is read page by page; the id comes again, later on the same day."""
    ids = store.fill(*[OLD + timedelta(microseconds=number) for number in range(20)])
    monkeypatch.setattr(archiving, "PAGE", 10)
    real = store.storage.database.oldest
    later = OLD + timedelta(microseconds=100)

    def oldest(until, limit, after, *rest):
        found = real(until, limit, after, *rest)
        if found and found[0].interaction_id == ids[0]:
            store.storage.delete_interaction_sync(ids[0])
            again = make_interaction(interaction_id=ids[0], created_at=later, updated_at=later)
            store.storage.copy_interactions([again])
        return found

    monkeypatch.setattr(store.storage.database, "oldest", oldest)
    archive(store)
    rows = [row for segment in store.segments() for row in store.archive.rows(segment)]
    assert [row.created_at for row in rows if row.interaction_id == ids[0]] == [later]
    assert len(rows) == 20


@pytest.mark.every_backend
@pytest.mark.parametrize("at", [1, 2])
def test_rows_whose_segment_another_run_has_rewritten_are_hot_again(store, ids, stand_still, at):
    stand_still(at)
    with pytest.raises(LockLost):
        archive(store)
    store.check_readable(ids)
    stand_still(0)
    archive(store)
    assert (store.hot(), store.cold()) == ([], ids)
    assert store.archive.marked() == {}


@pytest.mark.every_backend
def test_also_if_the_run_notices_that_its_lock_has_ended(store, ids, stand_still, monkeypatch):
    stand_still(1)
    step = Run.step
    monkeypatch.setattr(runs, "_clocks", lambda: (time.monotonic() + late[0], time.time()))
    late = [0.0]

    def late_step(self, done=0):
        if done:
            late[0] = 3600.0
        step(self, done)

    monkeypatch.setattr(Run, "step", late_step)
    with pytest.raises(LockLost):
        archive(store)
    store.check_readable(ids)


@pytest.mark.every_backend
def test_unless_they_are_taken_back_they_would_be_lost(store, ids, stand_still, monkeypatch):
    stand_still(1)
    monkeypatch.setattr(archiving, "_take_back", lambda *_: False)
    archive(store)
    assert store.hot() == []
    assert len(store.cold()) < len(ids)


@pytest.mark.every_backend
def test_a_run_between_the_mark_and_the_end_of_a_deletion_leaves_its_bytes_to_the_next(
    store, ids, monkeypatch
):
    archive(store)
    drop = store.storage.database.drop_stubs

    def crossed(interaction_ids, segment):
        with Run(store.storage, now=NOW) as run:
            Compaction(store.storage, Holds([]), POLICY.cutoff).finish_interrupted(run)
        return drop(interaction_ids, segment)

    monkeypatch.setattr(store.storage.database, "drop_stubs", crossed)
    assert store.storage.delete_interaction_sync(ids[3])
    monkeypatch.setattr(store.storage.database, "drop_stubs", drop)
    archive(store)
    assert store.cold() == [*ids[:3], *ids[4:]]


@pytest.fixture
def rewriting(store, monkeypatch):
    """A segment of ada's and bob's rows, which a run begins to rewrite, and bob is erased."""
    store.fill(OLD, OLD + timedelta(microseconds=1))
    store.fill(OLD + timedelta(microseconds=2), user_id="bob")
    archive(store)
    store.storage.delete_interaction_sync("i-0000")
    write = store.archive.files.write

    def late(name, content):
        if name.endswith(".zst"):
            monkeypatch.setattr(store.archive.files, "write", write)
            forget_locks(store.storage)
            status, _, errors = store.told("erase_user", "bob")
            assert status == 0, errors
        write(name, content)

    monkeypatch.setattr(store.archive.files, "write", late)


def is_there(store, user_id):
    """Whether any file of the archive has bytes of a user's row."""
    return any(
        row.user_id == user_id
        for segment in store.segments()
        for row in store.archive.rows(segment)
    )


@pytest.mark.every_backend
def test_a_rewriting_brings_nobody_back_who_was_erased_meanwhile(store, rewriting):
    with pytest.raises(StorageUnavailable, match="by another run"):
        archive(store)
    assert not is_there(store, "bob")
    archive(store)
    assert (store.cold(), store.archive.marked()) == (["i-0001"], {})
    assert store.archive.orphans(store.segments()[0]) == []


@pytest.mark.every_backend
def test_without_a_look_before_its_end_it_would(store, rewriting, monkeypatch):
    def commit_anyway(self, manifest, before):
        self.files.write(names.manifest_of(manifest.segment), manifests.to_document(manifest))

    monkeypatch.setattr(Archive, "_commit", commit_anyway)
    with suppress(LockLost):
        archive(store)
    assert is_there(store, "bob")


@pytest.fixture
def restored_meanwhile(store, ids, monkeypatch):
    """What is cold becomes hot between the look among the hot ones and what follows."""
    archive(store)
    (segment,) = store.segments()
    look = store.storage.database.look

    def late(interaction_id):
        monkeypatch.setattr(store.storage.database, "look", look)
        store.storage.return_from_cold(list(store.made.values()), segment)
        return look(interaction_id)

    def between_look_and_drop(interaction_ids, of_segment):
        monkeypatch.undo()
        store.storage.return_from_cold(list(store.made.values()), segment)
        return store.storage.database.drop_stubs(interaction_ids, of_segment)

    return {"look": late, "drop_stubs": between_look_and_drop}


@pytest.mark.every_backend
@pytest.mark.parametrize("user_id", [None, "ada", "bob"])
@pytest.mark.parametrize("at", ["look", "drop_stubs"])
def test_what_becomes_hot_while_it_is_deleted_is_deleted(
    store, ids, restored_meanwhile, monkeypatch, at, user_id
):
    monkeypatch.setattr(store.storage.database, at, restored_meanwhile[at])
    is_own = user_id != "bob"
    assert store.storage.delete_interaction_sync(ids[0], user_id=user_id) is is_own
    assert (store.storage.get_interaction_sync(ids[0]) is None) is is_own


@pytest.mark.every_backend
@pytest.mark.parametrize("user_id", [None, "ada", "bob"])
def test_what_becomes_hot_while_it_is_completed_is_completed(
    store, ids, restored_meanwhile, monkeypatch, user_id
):
    monkeypatch.setattr(store.storage.database, "look", restored_meanwhile["look"])
    changed = store.storage.update_interaction_sync(ids[0], {"response": "new"}, user_id=user_id)
    found = store.storage.get_interaction_sync(ids[0])
    assert (changed is not None) is (found.response == "new") is (user_id != "bob")


@pytest.mark.parametrize("backend", ["dynamodb"], indirect=True)
def test_nothing_changes_any_more_once_a_move_has_failed(store, ids, monkeypatch):
    put = cold._put
    begun = threading.Barrier(2)

    def slow(client, item, only_if):
        if item["interaction_id"]["S"] == ids[0]:
            begun.wait(300)
            raise ConnectionError
        if item["interaction_id"]["S"] == ids[1]:
            begun.wait(300)
            time.sleep(0.3)
        return put(client, item, only_if)

    monkeypatch.setattr(cold, "_put", slow)
    with pytest.raises(ConnectionError):
        store.storage.move_to_cold(list(store.made.values()), "2026-10-14/segment")
    stubs = store.storage.database.stubs(ids)
    time.sleep(0.5)
    assert store.storage.database.stubs(ids) == stubs
    assert len(stubs) < len(ids), "what had not begun was not begun"
