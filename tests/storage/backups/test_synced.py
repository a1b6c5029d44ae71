"""A backup and a restore are on the disk before anybody is told that they are done.

What a power loss leaves cannot be tried here, so these tests watch the calls: what gets its name
has been synced as it is, and the folder is synced before the next change in it.
"""

import os
from datetime import timedelta
from pathlib import Path

import pytest

from storage.archive import durable
from tests.storage.backups.conftest import ALL, NOW, delete, ids
from tests.storage.backups.test_replacing import restore


class Disk:
    """What of some folders would be lost with the power, and what was not in order on the way.

    The changes in the folder `unordered` may come in any order, before the next one elsewhere.
    """

    def __init__(self, monkeypatch, *folders, unordered=None):
        self.unsynced = set()
        self.mistakes = []
        self.renamed = []
        self._unordered = unordered
        self._folders = {folder.resolve() for folder in folders} | {unordered}
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
        if self.unsynced - ({self._unordered} if folder == self._unordered else set()):
            self.mistakes.append(f"{paths} before the last change in {self.unsynced}")
        if folder in self._folders:
            self.unsynced.add(folder)
        return found


def state(status):
    return status.st_mtime_ns, status.st_size


def test_a_backup_is_on_the_disk(monkeypatch, database, backups, tmp_path):
    chunks = backups.folder / "chunks"
    disk = Disk(monkeypatch, tmp_path, backups.folder, unordered=chunks)
    made = backups.take(database, NOW).backup
    names = sorted(path.name for path in chunks.iterdir())
    assert disk.renamed[0] == f"{made.name}.incomplete"
    assert sorted(disk.renamed[1:-2]) == names
    assert disk.renamed[-2:] == [f"{made.name}.parts", f"{made.name}.json"]
    assert (disk.mistakes, disk.unsynced) == ([], set())


def test_the_next_one_is_on_the_disk_before_the_expired_one_goes(
    monkeypatch, database, backups, backup, tmp_path
):
    backups.take(database, backup.expires_at - timedelta(hours=1))  # the two newest are kept
    delete(database, *ALL)
    disk = Disk(monkeypatch, tmp_path, backups.folder, unordered=backups.folder / "chunks")
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
