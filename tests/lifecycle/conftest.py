"""What the tests of maintenance commands share."""

import json

import pytest

from storage.archive.archive import Archive
from storage.archive.folder import ArchiveFolder


@pytest.fixture
def data_folder(settings, tmp_path, storage, monkeypatch):
    """A folder of their own for all that commands leave."""
    settings.DATA_DIR = tmp_path
    monkeypatch.setattr(storage, "archive", Archive(ArchiveFolder(tmp_path / "archive")))
    return tmp_path


@pytest.fixture
def said(capsys):
    """The summary and the lines on standard error since the last time."""

    def read():
        captured = capsys.readouterr()
        (line,) = captured.out.splitlines()
        return json.loads(line), captured.err.splitlines()

    return read
