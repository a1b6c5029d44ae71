"""What an archive owes, wherever its files are."""

from typing import Any

import pytest

from storage.archive.archive import Archive
from tests.storage.archive.dropping import FindingUsersContract, RewritingContract
from tests.storage.archive.failing import WAYS
from tests.storage.archive.interruptions import (
    CrashesContract,
    OrphansContract,
    ReadersContract,
    TroubleContract,
)
from tests.storage.archive.reading import (
    ListsContract,
    MarkersContract,
    PartsContract,
    UsersContract,
)
from tests.storage.archive.rows import DAY, large_row
from tests.storage.archive.writing import RoundTripsContract, WritingContract


class Fixtures:
    """A test class has a fixture `new_backend`, which makes Django storages with nothing in them.

    Nothing here may know which they are.
    """

    @pytest.fixture
    def ways(self) -> Any:
        """In which ways each operation is made to fail."""
        return WAYS

    @pytest.fixture
    def backend(self, new_backend: Any) -> Any:
        return new_backend()

    @pytest.fixture
    def archive(self, backend: Any) -> Any:
        return Archive(backend)

    @pytest.fixture
    def segment(self, archive: Any) -> Any:
        return archive.new_segment(DAY)

    @pytest.fixture
    def written(self, archive: Any, segment: str) -> Any:
        """The rows of a segment of several frames."""
        rows = [large_row(number, size=4_000) for number in range(100)]
        assert len(archive.write(segment, rows).frames) > 20
        return rows


class FilesContract(
    PartsContract,
    ListsContract,
    MarkersContract,
    OrphansContract,
    ReadersContract,
    CrashesContract,
    TroubleContract,
    Fixtures,
):
    """What depends on how files are kept: parts of them, lists, and what failures leave."""


class RowsContract(
    RoundTripsContract,
    WritingContract,
    UsersContract,
    FindingUsersContract,
    RewritingContract,
    Fixtures,
):
    """What becomes of rows, by the same operations on files."""


class ArchiveContract(RowsContract, FilesContract):
    """All of it."""
