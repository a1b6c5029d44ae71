"""A folder of backups that this process may not read, as if root had made it, is not empty."""

import os

import pytest

from chat.maintenance.erasure import receipts
from storage.backups import files, selection
from storage.backups.files import BackupRefused
from storage.backups.folder import LATEST, BackupFolder


@pytest.fixture
def _unreadable(folder, backup, monkeypatch):
    """Root may read everything, so the system call says it."""
    call = os.listdir

    def listdir(path):
        if path == folder:
            raise PermissionError(13, "Permission denied", str(path))
        return call(path)

    monkeypatch.setattr(files.os, "listdir", listdir)


@pytest.mark.usefixtures("_unreadable")
def test_a_receipt_says_that_there_may_be_copies(folder):
    said = receipts.copies()
    assert said["copies"] == [{"name": f"backups in {folder}, if any: Permission denied"}]
    assert said["copies_gone_by"] is None


@pytest.mark.usefixtures("_unreadable")
def test_whoever_asks_for_the_newest_is_told():
    with pytest.raises(PermissionError):
        selection.sql_backups().newest_at()


@pytest.mark.usefixtures("_unreadable")
def test_a_refusal_says_which_file_may_not_be_read(backups):
    with (
        pytest.raises(BackupRefused, match=f"Permission denied: {backups.folder}"),
        backups.reading(),
    ):
        backups.named(LATEST)


def test_the_names_are_those_of_before(backups: BackupFolder, backup):
    (backups.folder / "backup-none.json").touch()
    assert backups.names() == [backup.name]
    assert [copy.name for copy in backups.copies()] == [backup.name]
