"""Many times the rows: what is asked for costs what it is. Bytes, files and work are counted.

`benchmarks/growth.py` measures the same at 2,000,000 rows, with time, memory and waits.
"""

import pytest

from storage.archive.segments import FRAME_BYTES
from tests.system.growth.counting import HEAVY

MB = 1_000_000
ROW = 900
"""Bytes of one row as a line of JSON, about."""

COLD_OF_AVERAGE = {40_000: 5, 200_000: 32}
"""Rows on the pages of one user, by the rows of the store (GROWTH_ROWS)."""


def test_every_command_did_what_it_was_asked(small, large):
    for counts in (small, large):
        failed = {
            name: found["error"]
            for name, found in counts.items()
            if isinstance(found, dict) and found.get("status")
        }
        assert failed == {}


def test_the_counts_tell_the_two_stores_apart(small, large):
    # The control: what reads everything is seen to.
    most = 0.5 * large["rows"] / small["rows"]
    assert large["database"] > most * small["database"]
    assert large["verify_backup"]["read"] > most * small["verify_backup"]["read"]
    assert large["everyone's page"]["unpacked"] > 0


# Reading.


def test_status_reads_little(large):
    assert large["status"]["read"] <= 2 * MB


def test_a_cold_read_unpacks_little(large):
    assert 0 < large["cold read"]["unpacked"] <= 64 * 1024


def test_a_cold_read_opens_as_many_files(small, large):
    assert large["cold read"]["opened"] == small["cold read"]["opened"]


def test_a_page_of_everyone_s_archive_costs_the_same(small, large):
    """Each of its 20 rows is in a frame of another user, and few users have one segment."""
    few, many = small["everyone's page"], large["everyone's page"]
    assert many["unpacked"] <= few["unpacked"] + 512 * 1024
    assert many["opened"] <= few["opened"] + 2 * 20
    assert many["lengths"] == [20]


def test_a_user_s_pages_of_the_archive_are_full(large):
    *full, last = large["user's pages"]["lengths"]
    assert sum(full) + last == COLD_OF_AVERAGE[large["rows"]]
    assert set(full) <= {20}


def test_a_user_s_pages_unpack_what_is_near_the_user_s_rows(small, large):
    """A row lies in one frame, of whatever neighbours its segment has."""
    for found in (small["user's pages"], large["user's pages"]):
        assert 0 < found["unpacked"] <= 1.25 * FRAME_BYTES * sum(found["lengths"])


@pytest.mark.parametrize("name", ["export rare", "export average"])
def test_an_export_reads_what_it_exports(large, name):
    assert large[name]["read"] <= 20 * large[name]["result"] + 2 * MB


# Erasing.


@pytest.mark.parametrize("name", ["erase rare", "erase average"])
def test_an_erasure_writes_what_it_changes(large, name):
    """The first one also empties an outbox of all rows: bulk filling indexes none of them."""
    assert large[name]["written"] <= 10 * MB


@pytest.mark.parametrize(("name", "rows"), [("erase rare", 3), ("erase average", 65)])
def test_an_erasure_reads_the_user_s_rows_and_the_database_once(large, name, rows):
    """Once, to prove that no byte is left."""
    most = 20 * rows * ROW + 2 * MB + 1.25 * large["database"]
    assert large[name]["read"] <= most


def test_an_erasure_unpacks_what_is_near_the_user_s_rows(large):
    """A pass that finds the rows, one that drops them, and one that finds nothing."""
    assert large["erase average"]["unpacked"] <= 4 * 65 * 64 * 1024


def test_a_user_s_rows_are_deleted_at_the_same_cost_however_many_there_are(small):
    few, many = (small[f"erase {name}"]["work"] / rows for name, rows in HEAVY.items())
    assert many <= 1.3 * few


def test_a_request_costs_the_same_however_many_are_pending(small):
    few, many = small["request, few pending"], small["request, many pending"]
    assert many["opened"] <= few["opened"]
    assert many["read"] <= few["read"] + 1_000


def test_finishing_an_erasure_costs_the_same_however_many_are_pending(small):
    few, many = small["finish few"], small["finish many"]
    assert len(few["said"]["erasures"]) == 10
    assert len(many["said"]["erasures"]) == 100
    assert many["opened"] / 100 <= 1.1 * few["opened"] / 10
    assert many["pending listed"] / 100 <= few["pending listed"] / 10 + 5  # listed once a run


def test_an_erasure_reads_legal_holds_once(small):
    assert 0 < small["erase beside holds"]["holds opened"] <= 300


# Backups.


def test_a_backup_reads_the_database_at_most_thrice(large):
    assert large["backup"]["read"] <= 3 * large["database"]


def test_a_backup_of_what_has_not_changed_writes_next_to_nothing(large):
    assert large["backup again"]["written"] <= large["database"] / 100


def test_verifying_a_backup_reads_it_at_most_twice(large):
    assert large["verify_backup"]["read"] <= 2 * large["database"]
