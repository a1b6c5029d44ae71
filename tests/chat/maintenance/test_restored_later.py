"""Whatever the archive has become since a backup, and wherever the restore was killed: what the
copy had is there, unless it was erased, and what had been deleted before stays so.
"""

import random
import shutil
from datetime import timedelta

import pytest
from django.db import transaction

from chat.maintenance.compaction import Compaction
from chat.maintenance.erasure.after_restore import bring_up_to_date
from chat.maintenance.holds import Holds
from chat.maintenance.runs import Run
from storage.archive.archive import Archive
from storage.archive.folder import ArchiveFolder
from storage.backups.base import RestoredDatabase
from storage.models import ArchivedInteraction, ChatInteraction
from tests import switches
from tests.chat.maintenance.test_after_restore import DAY, MODELS, NOW, POLICY, Moments

PAIRS = 400 if switches.value("LIFECYCLE_KILLS") == "all" else 16
STEPS = ("adopt", "move_stubs", "drop_stubs")


class Killed(BaseException):
    """The restore dies."""


class MomentsOfArchive(Moments):
    """With a copy of the archive as it was."""

    def note(self):
        folder = self.store.archive.files.backend.location
        copy = f"{folder}-{len(self.all)}"
        shutil.copytree(folder, copy)
        self.all.append(({model: list(model.objects.values()) for model in MODELS}, copy))


def live(store, monkeypatch):
    """A store archives, restores days, deletes and erases; its moments."""
    ages = [31, 31, 32, 32, 32, 33, 33, 34, 88, 89]
    times = [NOW - age * DAY - n * timedelta(hours=1) for n, age in enumerate(ages)]
    for user_id in ("ada", "bob"):
        store.fill(*times, user_id=user_id)
    store.run("archive_interactions", "--batch-size", "2", now=NOW - DAY)
    moments = MomentsOfArchive(store, monkeypatch)
    store.run("archive_interactions", "--batch-size", "2", now=NOW)
    for age, size in ((32, "3"), (33, "4")):
        cold = sorted(stub.interaction_id for stub in store.storage.database.all_stubs())
        store.storage.delete_interaction_sync(cold[3])
        store.run("restore_archive", str((NOW - age * DAY).date()), now=NOW)
        store.run("archive_interactions", "--batch-size", size, now=NOW)
        for each in cold[1:9:3]:
            store.storage.delete_interaction_sync(each)
            moments.note()
    store.run("erase_user", "bob", now=NOW)
    moments.note()
    monkeypatch.undo()
    monkeypatch.setattr(type(store.storage.database), "scrub", lambda database: None)
    return moments.all


def visible(tables):
    rows = [*tables[ChatInteraction], *tables[ArchivedInteraction]]
    return {row["interaction_id"] for row in rows if row["created_at"] > POLICY.cutoff}


def killed_at(storage, step):
    """Restore, but die at this step."""
    left = iter(range(step))

    def dying(function):
        def call(*args):
            if next(left, None) is None:
                raise Killed
            return function(*args)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for name in STEPS:
            patch.setattr(storage.database, name, dying(getattr(storage.database, name)))
        patch.setattr(storage.archive, "mark", dying(storage.archive.mark))
        try:
            bring_up_to_date(RestoredDatabase(storage, None, storage.archive), POLICY)
        except Killed:
            return


def after_restore(store, tables, archive, step):
    """What can be read of a copy with these tables once its marked segments are compacted."""
    storage = type(store.storage)(store.storage.database, store.storage.cache, archive)
    with transaction.atomic():
        for model in tables:
            model.objects.all().delete()
        for model, rows in tables.items():
            model.objects.bulk_create(model(**row) for row in rows)
        killed_at(storage, step)
        bring_up_to_date(RestoredDatabase(storage, None, archive), POLICY)
        with Run(storage, lock=False) as run:
            Compaction(storage, Holds.of(archive), POLICY.cutoff).finish_interrupted(run)
        found = visible({model: list(model.objects.values()) for model in MODELS})
        for each in found:
            assert storage.get_interaction_sync(each) is not None, "a stub without a row"
        transaction.set_rollback(True)
    return found


def test_nothing_is_lost_and_nothing_comes_back(store, monkeypatch, tmp_path):
    moments = live(store, monkeypatch)
    bobs = {each for each, made in store.made.items() if made.user_id == "bob"}
    chosen = random.Random(1)  # the same ones each time
    for number in range(PAIRS):
        then, now = sorted(chosen.sample(range(len(moments)), 2))
        tables, _ = moments[then]
        tables_now, folder = moments[now]
        copy = shutil.copytree(folder, tmp_path / f"used-{number}")
        archive = Archive(ArchiveFolder(copy))
        rows = (row for segment in archive.all_segments() for row in archive.rows(segment))
        kept = {row.interaction_id for row in rows}
        kept |= {row["interaction_id"] for row in tables[ChatInteraction]}
        if any((copy / "erasures").rglob("*.json")):
            kept -= bobs
        before, at_last = visible(tables), visible(tables_now)
        found = after_restore(store, tables, archive, chosen.randrange(6))
        assert before & at_last & kept <= found, (then, now)
        assert found <= before | at_last, (then, now)
