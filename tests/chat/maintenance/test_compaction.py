"""Compaction never takes what it does not understand for garbage."""

from datetime import UTC, datetime, timedelta

import pytest

from chat.maintenance.compaction import Compaction
from chat.maintenance.holds import Holds
from storage.exceptions import DamagedArchive

pytestmark = pytest.mark.every_backend

DAY = datetime(2026, 10, 3, tzinfo=UTC)
NEVER = datetime(1, 1, 1, tzinfo=UTC)


@pytest.fixture
def rows(storage, make_interaction):
    made = [
        make_interaction(interaction_id=f"i-{n}", created_at=DAY + timedelta(seconds=n))
        for n in range(3)
    ]
    storage.create_interactions_sync(made)
    return made


@pytest.fixture
def segment(storage, rows):
    name = storage.archive.new_segment(DAY.date())
    storage.archive.mark(name)
    storage.archive.write(name, rows)
    return name


def compacted(storage, segment):
    return Compaction(storage, Holds([]), NEVER).compact(segment)


def test_a_segment_without_stubs_goes(storage, rows, segment):
    assert compacted(storage, segment).dropped == 3
    assert storage.archive.days() == []
    assert storage.get_interaction_sync("i-1") is not None


def test_only_rows_whose_stubs_name_it_stay(storage, rows, segment):
    storage.move_to_cold(rows[:2], segment)
    assert compacted(storage, segment).kept == 2
    found = [each.interaction_id for each in storage.archive.rows(segment)]
    assert found == ["i-0", "i-1"]


def test_rows_whose_stubs_name_another_segment_go(storage, rows, segment):
    """Two runs have written them, one of which had lost its lock."""
    storage.move_to_cold(rows, segment)
    again = storage.archive.new_segment(DAY.date())
    storage.archive.mark(again)
    storage.archive.write(again, rows)
    assert compacted(storage, again).dropped == 3
    assert storage.archive.segments(DAY.date()) == [segment]


def test_rows_that_a_run_had_no_manifest_for_yet_go(storage, rows, segment):
    storage.archive.files.delete(f"{segment}.json")
    compacted(storage, segment)
    assert storage.archive.orphans(segment) == []


def test_rows_whose_manifest_was_lost_do_not(storage, rows, segment):
    storage.move_to_cold(rows, segment)
    storage.archive.files.delete(f"{segment}.json")
    with pytest.raises(DamagedArchive, match=r"\.json in the archive is damaged: it is missing"):
        compacted(storage, segment)
    assert len(storage.archive.orphans(segment)) == 1


def test_nor_do_they_in_a_run_as_of_a_later_time(storage, rows, segment):
    """As of then they have expired, but no reader thinks so, and no purge was asked for."""
    storage.move_to_cold(rows, segment)
    storage.archive.files.delete(f"{segment}.json")
    later = Compaction(storage, Holds([]), cutoff=DAY + timedelta(days=1))
    with pytest.raises(DamagedArchive, match="it is missing"):
        later.compact(segment)
    assert len(storage.archive.orphans(segment)) == 1


def test_nor_does_a_file_that_cannot_be_read(storage, rows, segment, tmp_path):
    storage.archive.files.delete(f"{segment}.json")
    (name,) = storage.archive.orphans(segment)
    storage.archive.files.write(name, b"not zstd")
    with pytest.raises(DamagedArchive):
        compacted(storage, segment)
