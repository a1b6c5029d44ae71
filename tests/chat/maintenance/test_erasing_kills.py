"""An erasure that is killed at each of its steps while others are at work: see `stepping`."""

import contextlib
from dataclasses import replace
from datetime import timedelta

import pytest

from chat.maintenance import archiving, compaction, usage
from chat.maintenance.erasure import erasing, ledger
from chat.maintenance.erasure.attempt import Attempt
from chat.maintenance.runs import Run
from storage import accounts, get_storage
from storage.archive.archive import Archive
from storage.archive.rewriting import Rewriting
from storage.exceptions import InteractionArchived, StorageError
from storage.models import ApiKey, ArchivedInteraction, ChatInteraction, Lock, UsageOfUser
from storage.records.json import to_json
from storage.sqlite import scrubbing
from storage.sqlite.database import SqliteDatabase
from storage.sqlite.scrubbed_database import ScrubbedDatabase
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
from tests.chat.maintenance.test_kills import KILLS

pytestmark = pytest.mark.every_backend

ROWS = [("ada", 27), ("bob", 27), ("ada", 28), ("bob", 31), ("ada", 31), ("ada", 31), ("bob", 35)]
"""Users, and days since each interaction was created. One segment has both, one has bob only."""

ALONE = ("ada", 36)
"""In a segment without others."""


@pytest.fixture
def steps(monkeypatch):
    """With the steps that only an erasure has."""
    steps = Steps(monkeypatch)
    for owner, name in (
        (SqliteDatabase, "newest_interactions"),
        (SqliteDatabase, "forget_user"),
        (SqliteDatabase, "remove_of_user"),
        (SqliteDatabase, "scrub"),
        (scrubbing.os, "fsync"),
        (ScrubbedDatabase, "note"),
        (scrubbing._Pass, "_overwrite"),
        (accounts, "forget_user"),
    ):
        monkeypatch.setattr(owner, name, steps._watched(getattr(owner, name)))
    return steps


class People(World):
    """Ada is to be erased. Bob, whose interactions lie among hers, chats on."""

    def __init__(self, storage, make_interaction):
        self.storage = storage
        self._make = make_interaction
        self.mine, self.expected = [], {}
        for number, (user, age) in enumerate([*ROWS, ALONE]):
            self.make(user, number, age)
        run(storage, lambda r: archiving.archive(storage, POLICY, r, archiving.Archived()))
        storage.delete_interaction_sync("i-05")  # cold: its bytes are there still
        ApiKey.objects.all().delete()
        ApiKey.objects.create_key(name="phone", user_id="ada")

    def make(self, user, number, age):
        created_at = NOW - timedelta(days=age, seconds=number)
        interaction = self._make(
            interaction_id=f"i-{number:02}",
            user_id=user,
            message=f"question {number}",
            created_at=created_at,
            updated_at=created_at,
        )
        self.storage.create_interactions_sync([interaction])
        if user == "ada":
            self.mine.append(interaction.interaction_id)
        else:
            self.expected[interaction.interaction_id] = interaction

    def work(self, number):
        """What bob does before step `number`."""
        if number % 5 == 1:
            self.make("bob", 50 + number, 1)
        interaction_id = list(self.expected)[number % len(self.expected)]
        with contextlib.suppress(InteractionArchived):
            self.expected[interaction_id] = self.storage.update_interaction_sync(
                interaction_id, {"response": f"answer at {number}"}
            )

    def check_bob(self):
        """None of his is lost or changed, hot or cold."""
        for interaction_id, expected in self.expected.items():
            found = self.storage.get_interaction_sync(interaction_id)
            assert found is not None, f"{interaction_id} was lost"
            assert to_json(found) == to_json(expected)

    def check_erased(self):
        """Nothing is left of ada, and nothing of what was cut short."""
        archive = self.storage.archive
        rows = self.storage.oldest(NOW + timedelta(days=9), 100)
        for segment in [each for day in archive.days() for each in archive.segments(day)]:
            archive.verify(segment)
            assert archive.orphans(segment) == []
            rows += archive.rows(segment)
        assert sorted(row.interaction_id for row in rows) == sorted(self.expected)
        assert not self.storage.database.stubs(self.mine)
        assert not ApiKey.objects.exists()
        assert not UsageOfUser.objects.filter(user_id="ada").exists()
        if self.storage.database.count_usage(5) is not None:
            with Run(self.storage, now=NOW, dry_run=True) as looking:
                assert list(usage.verify(self.storage, looking, usage.Rebuilt())) == []
        assert archive.marked() == {}
        assert ledger.pending_ids(archive) == []
        assert list(ledger.to_scrub(archive)) == []
        assert archive.files.list(ledger.USERS) == []
        done = list(ledger.done(archive))
        assert len(done) >= 1
        for erasure in done:
            assert erasure.receipt["removed_at"] < erasure.receipt["scrubbed_at"]
        for _, content in files(archive, ""):
            assert b'"ada"' not in content


def files(archive, folder):
    for name in archive.files.list(folder):
        yield f"{folder}{name}", archive.files.read(f"{folder}{name}")
    for name in archive.files.folders(folder):
        yield from files(archive, f"{folder}{name}/")


@pytest.fixture
def make_people(storage, new_archive_files, monkeypatch, make_interaction, steps):
    """Makes a store, empty but for People."""

    def make():
        store = get_storage()
        if hasattr(store.database, "client"):
            client = store.database.client
            for item in client.call("Scan", ConsistentRead=True)["Items"]:
                client.call("DeleteItem", Key={"interaction_id": item["interaction_id"]})
        else:
            for model in (ChatInteraction, ArchivedInteraction, Lock):
                model.objects.all().delete()
        monkeypatch.setattr(store, "archive", Archive(new_archive_files(store)))
        return People(store, make_interaction)

    return make


def job(store, running):
    return erasing.Job(store, POLICY, running, erasing.Erased())


def erase(store):
    """As the API does it: the request is recorded first."""
    erasure = erasing.request(store, "ada", "a test")
    return run(store, lambda r: job(store, r).attempt(erasure))


def finish(store):
    """As cron does it; whose request was never recorded asks again."""
    folders = (ledger.PENDING, ledger.REMOVED, ledger.DONE)
    if not any(store.archive.files.list(folder) for folder in folders):
        erasing.request(store, "ada", "a test")
    problems = run(store, lambda r: job(store, r).erase_pending())
    assert problems == []


def killed_at_each_step(steps, make_people, kill, local=80, cloud=640):
    """Kill the erasure at step 1, 2, ... until it has no more, and finish it; gives what came."""
    number = 0
    while True:
        people = make_people()
        step = stride(people.storage, local=local, cloud=cloud)
        number = number + step if number else 1 + list(KILLS).index(kill) * step // 4
        steps.start(number, between=people.work, **KILLS[kill])
        with contextlib.suppress(Killed, UNAVAILABLE):
            erase(people.storage)
        steps.stop()
        people.check_bob()
        people.forget_lock()
        finish(people.storage)
        yield people
        if steps.count < number:
            return


@pytest.mark.parametrize("kill", KILLS)
def test_erasing(steps, make_people, kill):
    for people in killed_at_each_step(steps, make_people, kill):
        people.check_bob()
        people.check_erased()
    assert steps.count > 40


def goes_wrong(steps, make_people):
    """Whether anything does, with a kill after some step."""
    try:
        for people in killed_at_each_step(steps, make_people, "after, for good", local=1):
            people.check_bob()
            people.check_erased()
    except (AssertionError, StorageError):
        return True
    return False


@pytest.mark.exhaustive  # it tests the test above
@pytest.mark.on_sqlite("a protection that is taken away is missed on any backend")
class TestWithoutProtection:
    """What the test above would tell."""

    def test_no_mark(self, steps, make_people, monkeypatch):
        monkeypatch.setattr(Archive, "mark", lambda self, segment: "pending/none")
        assert goes_wrong(steps, make_people)

    def test_the_receipt_before_the_rows(self, steps, make_people, monkeypatch):
        remove = Attempt.remove

        def receipt_first(self, make_compaction):
            receipt = {"removed_at": "2026-11-22T00:00:00Z", "scrubbed_at": None}
            removed = [replace(each, user_id=None, receipt=receipt) for each in self.erasures]
            ledger.enter_removed(self.storage.archive, removed)
            remove(self, make_compaction)

        monkeypatch.setattr(Attempt, "remove", receipt_first)
        assert goes_wrong(steps, make_people)

    def test_a_segment_is_removed_before_others_are_written_anew(
        self, steps, make_people, monkeypatch
    ):
        def removing(self, segment, judge, user_ids=None):
            rows = list(self.rows(segment))
            kept = list(judge(rows))
            self.remove(segment)
            self.write(segment, kept)
            return Rewriting(len(kept), len(rows) - len(kept))

        monkeypatch.setattr(Archive, "rewrite", removing)
        monkeypatch.setattr(compaction.Compaction, "refuse_lost_manifest", lambda *_: None)
        assert goes_wrong(steps, make_people)
