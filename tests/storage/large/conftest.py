"""What the tests of large texts share."""

import pytest

from storage.archive.files import Files
from storage.archive.folder import ArchiveFolder
from storage.large.texts import LargeTexts
from tests import buckets


@pytest.fixture(params=["folder", "bucket"])
def backend(request, tmp_path):
    if request.param == "folder":
        return ArchiveFolder(tmp_path / "archive")
    return buckets.make_bucket(request.getfixturevalue("s3_server").url)


@pytest.fixture
def files(backend):
    return Files(backend)


@pytest.fixture
def large(files):
    return LargeTexts(files)
