"""restore_archive: a day comes back as it was, until the next archive_interactions."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from tests.chat.maintenance.tiers import MICROSECOND

pytestmark = pytest.mark.every_backend(exhaustive=True)

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
DAY = timedelta(days=1)
MIDNIGHT = datetime(2026, 10, 10, tzinfo=UTC)


@pytest.fixture
def days(store):
    """Interactions of three days, one each at the first and the last moment; all archived."""
    ids = store.fill(
        *(
            time
            for number in (-1, 0, 1)
            for time in (MIDNIGHT + number * DAY, MIDNIGHT + (number + 1) * DAY - MICROSECOND)
        )
    )
    store.run("archive_interactions", "--batch-size", "1", now=NOW)
    assert store.cold() == ids
    return ids


@pytest.mark.every_backend
def test_a_day_comes_back_whole_and_goes_again(store, days):
    summary = store.run("restore_archive", "2026-10-10", now=NOW)
    assert (summary["restored"], summary["segments"], summary["remaining"]) == (2, 2, 0)
    assert store.hot() == days[2:4]
    assert store.cold() == days[:2] + days[4:]
    assert "2026-10-10" not in map(str, store.archive.days())
    store.check_readable(days)
    assert store.run("archive_interactions", now=NOW)["archived"] == 2
    assert (store.hot(), store.cold()) == ([], days)
    store.check_readable(days)


@pytest.mark.every_backend
def test_what_was_restored_can_be_changed_and_stays_changed(store, days):
    store.run("restore_archive", "2026-10-10", now=NOW)
    store.storage.update_interaction_sync(days[2], {"response": "changed"})
    store.run("archive_interactions", now=NOW)
    assert store.cold() == days
    assert store.storage.get_interaction_sync(days[2]).response == "changed"


@pytest.mark.every_backend
def test_what_was_deleted_does_not_come_back(store, days):
    store.storage.delete_interaction_sync(days[2])
    told = store.run("restore_archive", "2026-10-10", "--dry-run", now=NOW)
    assert (told["finished"], told["restored"]) == (1, 1)
    summary = store.run("restore_archive", "2026-10-10", now=NOW)
    assert (summary["finished"], summary["restored"]) == (1, 1)
    assert store.hot() == [days[3]]


@pytest.mark.parametrize("what", ["rows", "manifest"])
def test_a_damaged_segment_keeps_no_other_from_coming_back_and_is_not_marked(store, days, what):
    """A mark would have every later run look at it, in vain."""
    segment = store.archive.segments(MIDNIGHT.date())[0]
    damaged = f"{segment}.json" if what == "manifest" else store.archive.manifest(segment).data
    store.archive.files.write(damaged, b"damaged")
    for dry in (["--dry-run"], []):
        arguments = ("restore_archive", "2026-10-10", "--now", NOW.isoformat(), *dry)
        status, said, errors = store.told(*arguments)
        assert (status, damaged in errors, json.loads(said)["restored"]) == (1, True, 1)
    assert store.hot() == [days[3]]
    assert store.archive.marked() == {}


def test_a_dry_run_tells_exactly_and_changes_nothing(store, days):
    before = store.state()
    told = store.run("restore_archive", "2026-10-10", "--dry-run", now=NOW)
    assert store.state() == before
    done = store.run("restore_archive", "2026-10-10", now=NOW)
    for name in ("restored", "segments", "finished"):
        assert told[name] == done[name]
    assert told["remaining"] == 2


@pytest.mark.parametrize("day", ["10.10.2026", "2026-13-01", "2026-1-1", "today", "2026-02-29"])
def test_what_is_no_day_is_wrong_use(store, day):
    status, _, errors = store.told("restore_archive", day)
    assert status != 0
    assert "write a day, such as 2026-10-23" in errors


def refused(store, day):
    status, _, errors = store.told("restore_archive", day, "--now", NOW.isoformat())
    assert status == 1
    return errors.splitlines()[-1]


def test_a_day_that_is_not_there_says_which_days_there_are(store, days):
    told = "Neither the archive nor the database has anything of 2026-10-20."
    assert refused(store, "2026-10-20") == f"{told} It has days from 2026-10-09 to 2026-10-11."


def test_a_day_that_is_hot_still_says_so(store, days):
    store.fill(NOW - MICROSECOND)
    assert refused(store, "2026-11-22").startswith("2026-11-22 is still in the database")
    assert "Neither the archive nor the database" in refused(store, "2026-11-21")


def test_an_empty_archive_says_so(store):
    assert refused(store, "2026-10-20").endswith("It is empty.")


def test_a_day_past_all_its_days_cannot_be_brought_back(store, days):
    later = datetime(2027, 1, 8, 23, 59, 59, 999998, UTC)
    summary = store.run("restore_archive", "2026-10-10", now=later)
    assert summary["restored"] == 1  # the other one has expired, and is gone
    store.run("archive_interactions", now=later)
    status, _, errors = store.told(
        "restore_archive", "2026-10-10", "--now", (later + MICROSECOND).isoformat()
    )
    assert status == 1
    assert "2026-10-10 is older than RETENTION_TOTAL_DAYS" in errors


def test_stopped_at_its_bound_it_goes_on_with_the_next_run(store, days):
    summary = store.run("restore_archive", "2026-10-10", "--max-seconds", "0", now=NOW, status=3)
    assert (summary["status"], summary["restored"], summary["remaining"]) == ("stopped", 0, 2)
    assert store.run("restore_archive", "2026-10-10", now=NOW)["restored"] == 2
    assert store.hot() == days[2:4]
