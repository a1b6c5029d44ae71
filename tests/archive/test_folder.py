"""The archive in a folder keeps the contract, and what a file system takes besides."""

import os
import stat
from pathlib import Path

import pytest

from storage.archive.folder import ArchiveFolder
from tests.archive.contract import ArchiveContract


class TestArchiveFolder(ArchiveContract):
    @pytest.fixture
    def backend(self, tmp_path):
        return ArchiveFolder(tmp_path / "archive")
