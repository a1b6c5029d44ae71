"""Archiving, purging and restoring, killed at each step while users work: see `stepping`."""

import contextlib
from datetime import timedelta

import pytest

from chat.maintenance import archiving, purging, restoring
from chat.maintenance.compaction import Compaction
from chat.maintenance.policy import Policy
from storage import get_storage
from storage.archive.archive import Archive
from storage.exceptions import StorageError
from storage.large.texts import LargeTexts
from storage.models import (
    ArchivedInteraction,
    ChatInteraction,
    Lock,
    UsageOfModel,
    UsageOfUser,
)
from storage.records import texts
from storage.sqlite import queries
from storage.sqlite.database import SqliteDatabase
from tests.chat.maintenance.stepping import (
    NOW,
    POLICY,
    UNAVAILABLE,
    Killed,
    Steps,
    World,
    run,
    stride,
)

pytestmark = pytest.mark.every_backend

KILLS = {
    "before, for good": {"after": False, "for_good": True},
    "after, for good": {"after": True, "for_good": True},
    "before, once": {"after": False, "for_good": False, "error": UNAVAILABLE},
    "after, once": {"after": True, "for_good": False, "error": UNAVAILABLE},
}


LATER = Policy(NOW + timedelta(days=57), POLICY.hot_days, POLICY.total_days)
"""When what is 35 days old now is to be gone."""


@pytest.fixture(autouse=True)
def _some_are_large(monkeypatch):
    monkeypatch.setattr(texts, "INLINE_MAX_BYTES", 100)


@pytest.fixture
def steps(monkeypatch):
    return Steps(monkeypatch)


@pytest.fixture
def make_world(backend, storage, new_archive_files, monkeypatch, make_interaction, steps):
    """Makes a store, empty but for a World."""

    def make():
        store = get_storage()
        if hasattr(store.database, "client"):
            _empty_table(store)
        else:
            _empty_tables()
        monkeypatch.setattr(store, "archive", Archive(new_archive_files(store)))
        monkeypatch.setattr(store.database.large, "objects", LargeTexts(store.archive.files))
        return World(store, make_interaction)

    return make


def _empty_tables():
    for model in (ChatInteraction, ArchivedInteraction, Lock, UsageOfModel, UsageOfUser):
        model.objects.all().delete()


def _empty_table(store):
    client = store.database.client
    for item in client.call("Scan", ConsistentRead=True)["Items"]:
        client.call("DeleteItem", Key={"interaction_id": item["interaction_id"]})
    store.database.count_usage(60)  # what the stream has of those before
    for model in (UsageOfModel, UsageOfUser):
        model.objects.all().delete()


def archive(store):
    return run(store, lambda r: archiving.archive(store, POLICY, r, archiving.Archived()))


def restore(store):
    day = (NOW - timedelta(days=31)).date()
    with contextlib.suppress(restoring.NothingArchived):
        run(store, lambda r: restoring.restore(store, day, POLICY, r, restoring.Restored()))


def purge(store):
    run(store, lambda r: purging.purge(store, LATER, r, purging.Purged()))


def killed_at_each_step(
    steps, make_world, job, kill, *, prepare=None, finish=None, purged=None, local=48
):
    """Kill `job` at step 1, 2, ... until it has no more; what runs next must then settle all.

    Gives the worlds that came of it. Between two steps users are at work.
    """
    number = 0
    while True:
        world = make_world()
        step = stride(world.storage, local=local, cloud=256)
        number = number + step if number else 1 + list(KILLS).index(kill) * step // 4
        if prepare:
            prepare(world.storage)
        if purged:
            world.purged_until = purged
        steps.start(number, between=world.work, **KILLS[kill])
        with contextlib.suppress(Killed, UNAVAILABLE):
            job(world.storage)
        steps.stop()
        world.check()
        world.forget_lock()
        (finish or job)(world.storage)
        world.check()
        yield world
        if steps.count < number:
            return


@pytest.mark.parametrize("kill", KILLS)
def test_archiving(steps, make_world, kill):
    for world in killed_at_each_step(steps, make_world, archive, kill):
        hot, cold = world.check_settled()
        assert all(world.expected[each].created_at > POLICY.archive_until for each in hot)
        assert len(cold) >= 4
    assert steps.count > 20


@pytest.mark.parametrize("kill", KILLS)
def test_restoring(steps, make_world, kill):
    def finish(store):
        restore(store)
        archive(store)

    for world in killed_at_each_step(
        steps, make_world, restore, kill, prepare=archive, finish=finish
    ):
        world.check_settled()
    assert steps.count > 20


@pytest.mark.parametrize("kill", KILLS)
def test_purging(steps, make_world, kill):
    for world in killed_at_each_step(
        steps, make_world, purge, kill, prepare=archive, purged=LATER.cutoff
    ):
        world.check_settled()
    assert steps.count > 20


def lost(steps, make_world):
    """Whether anything goes wrong, archiving with kills after steps."""
    try:
        for world in killed_at_each_step(steps, make_world, archive, "after, for good", local=1):
            world.check_settled()
    except (AssertionError, StorageError):
        return True
    return False


@pytest.mark.exhaustive  # it tests the test above
@pytest.mark.on_sqlite("a protection that is taken away is missed on any backend")
class TestWithoutProtection:
    """What the tests above would tell."""

    def test_rows_that_have_changed_are_moved_all_the_same(self, steps, make_world, monkeypatch):
        """Users change something at each step here, so that they meet the moment in between."""
        monkeypatch.setattr(World, "work", lambda self, number: self.complete_all(number))

        def delete_whatever(alias):
            return "DELETE FROM storage_chatinteraction WHERE interaction_id = :interaction_id"

        monkeypatch.setattr(queries, "delete_unchanged", delete_whatever)
        assert lost(steps, make_world)

    def test_objects_go_before_their_rows(self, steps, make_world, monkeypatch):
        move = SqliteDatabase.move_to_cold

        def objects_first(self, interactions, segment):
            named = self.text_objects([row.interaction_id for row in interactions])
            get_storage().archive.files.delete_all([kept.name for kept in named.values()])
            return move(self, interactions, segment)

        monkeypatch.setattr(SqliteDatabase, "move_to_cold", objects_first)
        assert lost(steps, make_world)

    def test_no_mark(self, steps, make_world, monkeypatch):
        monkeypatch.setattr(Archive, "mark", lambda self, segment: "pending/none")
        assert lost(steps, make_world)

    def test_no_compaction_of_what_is_marked(self, steps, make_world, monkeypatch):
        monkeypatch.setattr(Compaction, "finish_interrupted", lambda *_: 0)
        assert lost(steps, make_world)

    def test_rows_are_moved_before_they_are_written(self, steps, make_world, monkeypatch):
        write = Archive.write

        def moved_first(self, segment, rows):
            rows = list(rows)
            get_storage().move_to_cold(rows, segment)
            return write(self, segment, rows)

        monkeypatch.setattr(Archive, "write", moved_first)
        assert lost(steps, make_world)
