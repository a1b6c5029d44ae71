"""A run refuses an archive that is not the one of its database."""

import pytest

from storage.archive.archive import Archive
from storage.archive.folder import ArchiveFolder
from storage.lifecycle.identity import NAME, ArchiveMismatch
from storage.lifecycle.runs import LOCK, Run

pytestmark = pytest.mark.every_backend


@pytest.fixture
def mount(storage, tmp_path, monkeypatch):
    """Makes the folder of this name the archive."""

    def mount(name):
        monkeypatch.setattr(storage, "archive", Archive(ArchiveFolder(tmp_path / name)))
        return storage.archive

    return mount


def test_the_first_run_takes_whatever_archive_there_is(storage, mount):
    mount("first")
    for _ in range(2):
        with Run(storage):
            pass


def test_an_empty_archive_in_the_place_of_one_that_was_used_is_refused(storage, mount, tmp_path):
    mount("first")
    with Run(storage):
        pass
    mount("nothing is mounted here")
    with pytest.raises(ArchiveMismatch, match="mounted"), Run(storage):
        pass
    assert not (tmp_path / "nothing is mounted here" / NAME).exists()
    assert storage.take_lock_sync(LOCK, "another run", 60)
    storage.release_lock_sync(LOCK, "another run")
    mount("first")
    with Run(storage):
        pass


def test_a_run_that_dies_before_the_database_knows_leaves_nothing_stuck(
    storage, mount, monkeypatch
):
    mount("first")
    take = storage.take_lock_sync

    def dead(name, *args):
        if name == "archive":
            raise KeyboardInterrupt
        return take(name, *args)

    monkeypatch.setattr(storage, "take_lock_sync", dead)
    with pytest.raises(KeyboardInterrupt), Run(storage):
        pass
    monkeypatch.undo()
    mount("first")
    with Run(storage):
        pass
