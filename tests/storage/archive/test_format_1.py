"""Segments of earlier versions are read, rewritten and removed like those of this one."""

import itertools
import shutil
from pathlib import Path

import pytest

from storage.archive.archive import Archive
from storage.archive.folder import ArchiveFolder
from storage.archive.heads import Listed
from storage.archive.manifests import BY_TIME
from storage.archive.pseudonyms import Sought
from tests.storage.archive.format_1 import EarlierArchive
from tests.storage.archive.interruptions import ReadersContract, TroubleContract
from tests.storage.archive.reading import PartsContract, UsersContract
from tests.storage.archive.rows import DAY, ODD_TEXTS, fields, large_row, row

KEPT = Path(__file__).parent / "earlier"
"""What version 0.2 wrote, with SECRET_KEY=first: ten rows in frames of 600 bytes."""

SEGMENT = "2026-10-23/0199f0c2-3b1e-7aa0-b34f-1ac2a8dc4afc"
ROWS = [row(number, message=ODD_TEXTS[number % 5]) for number in range(10)]


class TestFormat1(PartsContract, UsersContract, ReadersContract, TroubleContract):
    @pytest.fixture
    def new_backend(self, tmp_path):
        numbers = itertools.count()
        return lambda: ArchiveFolder(tmp_path / f"archive {next(numbers)}")

    @pytest.fixture
    def backend(self, new_backend):
        return new_backend()

    @pytest.fixture
    def archive(self, backend):
        return EarlierArchive(backend)

    @pytest.fixture
    def segment(self, archive):
        return archive.new_segment(DAY)

    @pytest.fixture
    def written(self, archive, segment):
        rows = [large_row(number) for number in range(100)]
        assert len(archive.write(segment, rows).frames) > 5
        return rows


@pytest.fixture
def archive(tmp_path, settings):
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "first", []
    shutil.copytree(KEPT, tmp_path / "archive")
    return Archive(ArchiveFolder(tmp_path / "archive"))


def test_what_an_earlier_version_wrote_is_read(archive):
    assert archive.listed(DAY) == ([Listed(SEGMENT, None, None)], [])
    assert archive.verify(SEGMENT).format == BY_TIME
    assert fields(archive.rows(SEGMENT)) == fields(archive.verified_rows(SEGMENT)) == fields(ROWS)
    assert fields(archive.newest(SEGMENT)) == fields(ROWS[::-1])
    for each in ROWS:
        assert fields(archive.find(SEGMENT, [each.position]).values()) == fields([each])


def test_its_users_are_found(archive):
    assert dict(archive.segments_of(["user 1", "eve"])) == {SEGMENT: ["user 1"]}
    assert archive.ids_of(SEGMENT, ["user 1", "eve"]) == {"user 1": ["i000001", "i000008"]}
    assert list(archive.newest(SEGMENT, sought=Sought(["eve"]))) == []


@pytest.mark.parametrize("key", ["first", "unknown"])
def test_it_is_rewritten_as_it_is(archive, settings, key):
    settings.SECRET_KEY = key
    before = archive.manifest(SEGMENT)
    counts = archive.rewrite(SEGMENT, lambda rows: [each for each in rows if each != ROWS[1]])
    assert counts == (9, 1)
    after = archive.verify(SEGMENT)
    assert after.format == BY_TIME
    assert fields(archive.rows(SEGMENT)) == fields(ROWS[:1] + ROWS[2:])
    digests = [frame.sha256 for frame in after.frames]
    kept = [frame.sha256 in digests for frame in before.frames]
    assert kept.count(False) == 1
    assert not archive.orphans(SEGMENT)
    assert dict(archive.segments_of(["user 1"])) == {SEGMENT: ["user 1"]}


def test_nothing_is_left_of_one_whose_rows_all_go(archive, tmp_path):
    assert archive.rewrite(SEGMENT, lambda rows: []) == (0, 10)
    assert list((tmp_path / "archive").rglob("*")) == []
