"""What the tests of maintenance commands share."""

import itertools
import json

import pytest

from chat.maintenance import runs
from storage.archive.archive import Archive
from storage.archive.folder import ArchiveFolder
from storage.dynamodb import locks as cloud_locks
from storage.large.texts import LargeTexts
from storage.sqlite import locks as local_locks
from tests import switches
from tests.buckets import make_bucket
from tests.chat.maintenance.tiers import Store
from tests.clocks import Clock


@pytest.fixture
def held_clock(monkeypatch):
    """The clock of runs and their locks; no run renews its lock by itself."""
    clock = Clock()
    monkeypatch.setattr(runs, "time", clock)
    monkeypatch.setattr(runs, "KEEPER_SECONDS", 3600)
    monkeypatch.setattr(cloud_locks, "time", clock)
    monkeypatch.setattr(local_locks, "datetime", clock.datetime)
    return clock


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


@pytest.fixture
def bucket_beside_dynamodb():
    """Whether archives beside DynamoDB are in S3, where each call takes a hundred times longer.

    `tests.storage.archive` proves that a bucket keeps what a folder does. So `make test` takes one
    in the modules alone that have this fixture of their own.
    """
    return switches.is_set("MAINTENANCE_BUCKET")


@pytest.fixture
def new_archive_files(request, tmp_path, bucket_beside_dynamodb):
    """Makes the files of an archive for a storage: a folder or a bucket."""
    numbers = itertools.count()

    def make(storage):
        if bucket_beside_dynamodb and hasattr(storage.database, "client"):
            return make_bucket(request.getfixturevalue("s3_server").url)
        return ArchiveFolder(tmp_path / f"archive-{next(numbers)}")

    return make


@pytest.fixture
def archive(storage, new_archive_files, monkeypatch):
    """The archive of the storage, new."""
    monkeypatch.setattr(storage, "archive", Archive(new_archive_files(storage)))
    large = LargeTexts(storage.archive.files)
    monkeypatch.setattr(storage.database.large, "objects", large)
    return storage.archive


@pytest.fixture
def store(storage, archive, settings, tmp_path, make_interaction):
    """The storage with its maintenance commands: see `tests.chat.maintenance.tiers`."""
    settings.DATA_DIR = tmp_path
    return Store(storage, settings, make_interaction)
