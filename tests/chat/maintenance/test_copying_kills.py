"""`migrate_storage` killed at each step while users write to the source: see `stepping`."""

from datetime import timedelta

import pytest
from django.core.cache.backends.dummy import DummyCache

from chat.maintenance import archiving
from chat.maintenance.migration import comparing
from chat.maintenance.runs import Run
from chat.management.commands import migrate_storage
from storage.archive.archive import Archive
from storage.archive.folder import ArchiveFolder
from storage.exceptions import InteractionArchived
from storage.models import ArchivedInteraction, ChatInteraction, Lock
from storage.sqlite import cold
from storage.sqlite.database import SqliteDatabase
from tests import clouds
from tests.chat.lines import command
from tests.chat.maintenance.stepping import (
    BATCH,
    EVERY_STEP,
    NOW,
    POLICY,
    UNAVAILABLE,
    Killed,
    Steps,
    forget_locks,
)
from tests.conftest import use_archive

KILLS = {
    "before, for good": {"after": False, "for_good": True},
    "after, once": {"after": True, "for_good": False, "error": UNAVAILABLE},
}

STRIDE = 1 if EVERY_STEP else 40
"""Steps from one kill to the next: each kind of kills takes other ones."""

FIRST = {kill: 1 + number * (STRIDE // 2) for number, kill in enumerate(KILLS)}

ROWS = 7


@pytest.fixture(params=[("local", "cloud"), ("cloud", "local")], ids=["to cloud", "to local"])
def way(request):
    return request.param


@pytest.fixture
def steps(monkeypatch):
    """With the steps of SQLite that only copying has."""
    steps = Steps(monkeypatch)
    for owner, name in (
        (SqliteDatabase, "create_many"),
        (SqliteDatabase, "delete"),
        (SqliteDatabase, "read"),
        (cold, "_stubs"),
    ):
        monkeypatch.setattr(owner, name, steps._watched(getattr(owner, name)))
    return steps


class World:
    """A source with users, and a target; some interactions are cold."""

    def __init__(self, source, target, archive, make_interaction):
        self.source, self.target = source, target
        self._make = make_interaction
        self.expected = {}
        for storage in (source, target):
            use_archive(storage, archive)
            if isinstance(storage.database, SqliteDatabase):
                for model in (ChatInteraction, ArchivedInteraction, Lock):
                    model.objects.all().delete()
            else:
                client = storage.database.client
                for item in client.call("Scan", ConsistentRead=True)["Items"]:
                    client.call("DeleteItem", Key={"interaction_id": item["interaction_id"]})
        for number in range(ROWS):
            self.create(number)
        with Run(source, now=NOW, batch_size=BATCH) as run:
            archiving.archive(source, POLICY, run, archiving.Archived())

    def create(self, number):
        created_at = NOW - timedelta(days=35 - (number % 11) * 2, microseconds=number // 2)
        row = self._make(
            interaction_id=f"i-{number:03}",
            user_id=("ada", "bob")[number % 2],
            created_at=created_at,
            updated_at=created_at + timedelta(seconds=1),
        )
        self.source.create_interactions_sync([row])
        self.expected[row.interaction_id] = row

    def work(self, number):
        """What users do before step `number`; they stop after a while."""
        if number > 30:
            return
        chosen = sorted(self.expected)[number * 5 % len(self.expected)]
        if number % 6 == 1:
            self.create(100 + number)
        elif number % 6 == 3:
            try:
                changed = self.source.update_interaction_sync(chosen, {"response": str(number)})
                self.expected[chosen] = changed
            except InteractionArchived:
                pass
        elif number % 9 == 5:
            self.source.delete_interaction_sync(chosen)
            del self.expected[chosen]

    def check(self):
        """Both have what users were told is saved, each once, as it was, in the same tier."""
        for storage in (self.source, self.target):
            for interaction_id, expected in self.expected.items():
                found = storage.get_interaction_sync(interaction_id)
                assert found is not None, f"{interaction_id} was lost"
                assert found.same_content(expected)
                assert found.created_at == expected.created_at
                assert found.updated_at == expected.updated_at
            hot = [row.interaction_id for row in storage.oldest(comparing.LATEST, 1000)]
            cold = [stub.interaction_id for stub in storage.database.all_stubs()]
            assert sorted(hot + cold) == sorted(self.expected)
        assert set(self.source.database.all_stubs()) == set(self.target.database.all_stubs())

    def forget_locks(self):
        """Those of runs that have died end; here at once."""
        for storage in (self.source, self.target):
            forget_locks(storage)


@pytest.fixture
def make_world(storage, dynamodb_model, monkeypatch, make_interaction, tmp_path, way, steps):
    cloud = clouds.make_storage(dynamodb_model, DummyCache("", {}), storage.archive)
    monkeypatch.setattr(storage, "archive", storage.archive)  # to be put back
    both = {"local": storage, "cloud": cloud}
    monkeypatch.setattr(migrate_storage, "storage_named", both.__getitem__)
    made = []

    def make():
        made.append(Archive(ArchiveFolder(tmp_path / f"archive-{len(made)}")))
        return World(both[way[0]], both[way[1]], made[-1], make_interaction)

    return make


@pytest.mark.timeout(600)
@pytest.mark.parametrize("kill_name", KILLS)
def test_a_repetition_completes_what_was_killed(steps, make_world, way, kill_name):
    kill = KILLS[kill_name]

    def migrate(*options):
        return command(
            "migrate_storage", "--from", way[0], "--to", way[1], "--batch-size", "2", *options
        )

    number = FIRST[kill_name]
    while True:
        world = make_world()
        steps.start(number, between=world.work, **kill)
        was_killed = False
        try:
            was_killed = migrate("--hand-over")[0] == 1
        except Killed:
            was_killed = True
        finally:
            steps.watching = False
        world.forget_locks()
        status, _, errors = migrate("--hand-over")
        if status and ("not the one" in errors or "the old one is not" in errors):
            pass  # it was handed over before it was killed
        else:
            assert (status, errors) == (0, ""), number
        world.check()
        if not was_killed and steps.count < number:
            break
        number += STRIDE
    assert number > 60
