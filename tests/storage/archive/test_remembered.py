"""Lists do not read again what a manifest says, and learn of all that has changed."""

import pytest

from storage.archive.archive import Archive
from storage.archive.folder import ArchiveFolder
from storage.exceptions import DamagedArchive
from storage.models import ChatInteraction
from tests.storage.archive.rows import DAY, fields, row

ROWS = [row(number) for number in range(20)]


@pytest.fixture
def archive(tmp_path):
    return Archive(ArchiveFolder(tmp_path / "archive"))


@pytest.fixture
def segment(archive):
    segment = archive.new_segment(DAY)
    archive.write(segment, ROWS)
    return segment


def listed(archive):
    """The rows as a list finds them."""
    ((each,), lost) = archive.listed(DAY)
    assert lost == []
    return rows(archive, each.segment, each.data)


def rows(archive, segment, data):
    found = archive.announced(segment, data=data)
    return fields(each for each in found if isinstance(each, ChatInteraction))


def test_of_a_segment_that_stays_the_manifest_is_read_once(archive, segment, reads):
    assert listed(archive) == fields(reversed(ROWS))
    reads.clear()
    assert listed(archive) == fields(reversed(ROWS))
    assert {name for name, _ in reads} == {archive.manifest(segment).data}


def test_of_a_rewritten_segment_come_the_new_rows(archive, segment):
    before = archive.manifest(segment).data
    listed(archive)
    for left in (ROWS[::2], ROWS[::4]):
        archive.write(segment, left)
        assert listed(archive) == fields(reversed(left))
        # Also by a list of before, whoever remembers what.
        for each in (archive, Archive(archive.files.backend)):
            assert rows(each, segment, before) == fields(reversed(left))


def test_of_one_rewritten_behind_the_list_too(archive, segment):
    """Here a process remembers, under the name of a file, what came after it."""
    before = archive.manifest(segment).data
    archive.write(segment, ROWS[::2])
    rows(archive, segment, before)
    archive.write(segment, ROWS[::4])
    assert rows(archive, segment, before) == fields(reversed(ROWS[::4]))


def test_of_a_removed_segment_comes_nothing(archive, segment):
    data = archive.manifest(segment).data
    listed(archive)
    archive.remove(segment)
    for each in (archive, Archive(archive.files.backend)):
        assert rows(each, segment, data) == []


def test_a_lost_data_file_is_damage(archive, segment):
    data = archive.manifest(segment).data
    listed(archive)
    archive.files.delete(data)
    with pytest.raises(DamagedArchive, match="it is not there"):
        rows(archive, segment, data)
