"""A backup and a restore are on the disk before anybody is told that they are done.

What a power loss leaves cannot be tried here, so these tests watch the calls: what gets its name
has been synced as it is, and the folder is synced before the next change in it.
"""

import os
from datetime import timedelta
from pathlib import Path

import pytest

from storage.archive import durable
from tests.storage.backups.conftest import NOW, delete, ids
from tests.storage.backups.test_replacing import restore


class Disk:
    """What of some folders would be lost with the power, and what was not in order on the way."""

    def __init__(self, monkeypatch, *folders):
        self.unsynced = set()
        self.mistakes = []
        self.renamed = []
        self._folders = {folder.resolve() for folder in folders}
        self._synced = {}
        self._monkeypatch = monkeypatch
        self._watch("fsync", self._fsync)
        for name in ("replace", "rename"):
            self._watch(name, self._rename)
        for name in ("unlink", "link", "mkdir"):
            self._watch(name, self._change)

    def _watch(self, name, watched):
        call = getattr(os, name)
        self._monkeypatch.setattr(
            os, name, lambda *args, **options: watched(call, *args, **options)
        )

    def _fsync(self, call, descriptor):
        call(descriptor)
        status = os.fstat(descriptor)
        self._synced[status.st_ino] = state(status)
        self.unsynced -= {
            folder for folder in self.unsynced if folder.stat().st_ino == status.st_ino
        }

    def _rename(self, call, old, new, **options):
        status = Path(old).stat()
        if self._synced.get(status.st_ino) != state(status):
            self.mistakes.append(f"{new} gets a content that is not synced")
        self.renamed.append(Path(new).name)
        self._change(call, old, new, **options)

    def _change(self, call, *paths, **options):
        found = call(*paths, **options)  # raises if there is nothing to delete
        folder = Path(paths[-1] if isinstance(paths[-1], str | Path) else paths[0]).parent.resolve()
        if folder in self.unsynced:
            self.mistakes.append(f"{paths} before the last change in {folder} is synced")
        if folder in self._folders:
            self.unsynced.add(folder)
        return found


def state(status):
    return status.st_mtime_ns, status.st_size


def test_a_backup_is_on_the_disk(monkeypatch, database, backups, tmp_path):
    disk = Disk(monkeypatch, tmp_path, backups.folder)
    made = backups.take(database, NOW).backup
    assert disk.renamed == [f"{made.name}.sqlite3", f"{made.name}.json"]
    assert (disk.mistakes, disk.unsynced) == ([], set())


def test_the_next_one_is_on_the_disk_before_the_expired_one_goes(
    monkeypatch, database, backups, backup, tmp_path
):
    backups.take(database, backup.expires_at - timedelta(hours=1))  # the two newest are kept
    disk = Disk(monkeypatch, tmp_path, backups.folder)
    deleted = backups.take(database, backup.expires_at).deleted
    assert deleted == [backup.name]
    assert (disk.mistakes, disk.unsynced) == ([], set())


@pytest.mark.parametrize("keep_old", [False, True])
def test_a_restored_database_is_on_the_disk(
    monkeypatch, database, backup, backups, tmp_path, keep_old
):
    delete(database, "id-1")
    disk = Disk(monkeypatch, tmp_path, backups.folder)
    restore(keep_old=keep_old)
    assert disk.renamed == [database.name]
    assert "id-1" in ids(database)
    assert (disk.mistakes, disk.unsynced) == ([], set())


def test_new_folders_are_on_the_disk(monkeypatch, tmp_path):
    disk = Disk(monkeypatch, tmp_path, tmp_path / "a", tmp_path / "a" / "b")
    durable.make_folder(tmp_path / "a" / "b")
    assert disk.unsynced == set()
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700
    durable.make_folder(tmp_path / "a" / "b")
