"""storage_status: what there is and what is due, as an operator and a check see it."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from msgspec import structs

from chat.maintenance import holds
from chat.maintenance import status as subject
from chat.maintenance.erasure import ledger
from chat.maintenance.holds import Hold
from storage.exceptions import StorageUnavailable
from tests.chat.maintenance.tiers import MICROSECOND
from tests.storage.archive.format_1 import EarlierArchive

pytestmark = pytest.mark.every_backend(exhaustive=True)

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def test_an_empty_store(store):
    found = store.run("storage_status", "--check", now=NOW)
    for name in ("hot", "due_to_archive", "due_to_purge", "cold", "segments", "holds"):
        assert found[name] == 0, name
    assert found["oldest_hot"] is found["oldest_cold"] is found["newest_backup"] is None
    assert found["database"]


def test_backups_that_may_not_be_looked_at_are_not_none(store, monkeypatch):
    def denied():
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(subject, "sql_backups", denied)
    assert store.run("storage_status", now=NOW)["newest_backup"] == "unknown: Permission denied"


@pytest.mark.every_backend
def test_what_is_where_and_what_is_due(store):
    store.fill(*(NOW - n * DAY for n in (91, 80, 70, 60)))
    store.run("archive_interactions", now=NOW - 20 * DAY)
    store.fill(*(NOW - n * DAY for n in (90, 31, 30, 29, 0)))
    holds.put(store.archive, Hold("user", "bob", "a case", NOW))
    ledger.request(store.archive, "carol")
    store.storage.delete_interaction_sync("i-0001")
    found = store.run("storage_status", now=NOW)
    assert (found["hot"], found["due_to_purge"], found["due_to_archive"]) == (5, 1, 2)
    assert (found["cold"], found["segments"], found["interrupted"]) == (4, 4, 1)
    assert (found["holds"], found["pending_erasures"]) == (1, 1)
    assert found["oldest_hot"] == "2026-08-24T12:00:00.000000Z"
    assert found["oldest_cold"] == "2026-08-23T12:00:00.000000Z"
    assert found["newest_cold"] == "2026-09-23T12:00:00.000000Z"
    assert found["archive_bytes"] == sum(
        store.archive.manifest(segment).bytes for segment in store.segments()
    )
    assert set(found["last_success"]) == {"archive_interactions"}


def test_it_changes_nothing(store):
    store.fill(NOW - 31 * DAY)
    before = store.state()
    store.run("storage_status", "--check", now=NOW)
    assert store.state() == before


@pytest.mark.every_backend
def test_a_check_fails_once_something_is_due_for_two_days(store):
    store.fill(NOW - 32 * DAY + MICROSECOND)
    assert store.run("storage_status", "--check", now=NOW)["due_to_archive"] == 1
    found = store.run("storage_status", "--check", now=NOW + MICROSECOND, status=1)
    assert found["overdue_to_archive"] == 1
    assert store.run("storage_status", now=NOW + MICROSECOND)["overdue_to_archive"] == 1
    store.run("archive_interactions", now=NOW)
    store.run("storage_status", "--check", now=NOW + 60 * DAY - MICROSECOND)
    found = store.run("storage_status", "--check", now=NOW + 60 * DAY + MICROSECOND, status=1)
    assert found["overdue_to_purge"] == 1
    store.run("purge_interactions", now=NOW + 60 * DAY)
    store.run("storage_status", "--check", now=NOW + 60 * DAY + MICROSECOND)


def test_hot_ones_that_purge_should_have_taken(store):
    store.fill(NOW - 92 * DAY)
    found = store.run("storage_status", "--check", now=NOW, status=1)
    assert (found["due_to_purge"], found["overdue_to_purge"]) == (1, 1)
    assert (found["due_to_archive"], found["overdue_to_archive"]) == (0, 0)


def test_what_is_held_is_not_overdue(store):
    store.fill(NOW - 100 * DAY)
    store.run("archive_interactions", now=NOW - 60 * DAY)
    holds.put(store.archive, Hold("user", "ada", "a case", NOW))
    store.fill(NOW - 100 * DAY)
    assert store.run("storage_status", "--check", now=NOW)["overdue_to_purge"] == 0


@pytest.mark.every_backend
def test_what_is_dated_in_the_future_is_counted(store, monkeypatch):
    now = datetime.now(UTC)
    store.fill(now - DAY, now + 23 * timedelta(hours=1))
    found = store.run("storage_status", now=now)
    assert found["future"] == 0
    store.fill(*(now + (n + 2) * DAY for n in range(3)))
    found = store.run("storage_status", now=now)
    assert (found["hot"], found["future"]) == (5, 3)
    assert found["newest_hot"] == f"{now + 4 * DAY:%Y-%m-%dT%H:%M:%S.%fZ}"
    monkeypatch.setattr(subject, "FUTURE_AT_MOST", 2)
    assert store.run("storage_status", now=now)["future"] == 2


@pytest.mark.parametrize("bucket_beside_dynamodb", [True])  # whose server tells the time
@pytest.mark.every_backend
def test_a_clock_in_doubt_is_shown(store):
    now = datetime.now(UTC)
    store.fill(now - 5 * DAY)
    found = store.run("storage_status", now=now)
    if hasattr(store.storage.database, "client"):
        assert abs(found["clock_skew_seconds"]) < 600
        assert found["clock"] is None
    else:
        assert found["clock_skew_seconds"] is None
        assert "no interaction was saved" in found["clock"]
    store.fill(now)
    assert store.run("storage_status", now=now)["clock"] is None


@pytest.mark.every_backend
def test_counts_are_bounded(store, monkeypatch):
    monkeypatch.setattr(subject, "COUNTED_AT_MOST", 3)
    store.fill(*(NOW - 91 * DAY + n * MICROSECOND for n in range(2)))
    store.fill(*(NOW - 40 * DAY + n * MICROSECOND for n in range(5)))
    found = store.run("storage_status", now=NOW)
    assert (found["hot"], found["due_to_purge"], found["due_to_archive"]) == (3, 2, 3)


def test_no_segment_is_opened_that_is_not_overdue(store, monkeypatch):
    store.fill(*(NOW - n * DAY for n in (31, 31, 32)))
    store.run("archive_interactions", now=NOW)
    opened = []
    monkeypatch.setattr(store.archive, "manifest", opened.append)
    assert store.run("storage_status", now=NOW)["cold"] == 3
    assert opened == []


def test_of_an_earlier_version_the_manifest_tells(store):
    store.fill(*(NOW - n * DAY for n in (31, 31, 32)))
    store.run("archive_interactions", now=NOW)
    expected = store.run("storage_status", now=NOW)
    earlier = EarlierArchive(store.archive.files.backend)
    for segment in store.segments():
        earlier.write(segment, list(store.archive.rows(segment)))
    found = store.run("storage_status", now=NOW)
    names = ("cold", "segments", "oldest_cold", "newest_cold")
    assert [found[name] for name in names] == [expected[name] for name in names]


def test_a_segment_with_a_file_that_was_left_is_counted_once(store):
    store.fill(NOW - 31 * DAY)
    store.run("archive_interactions", now=NOW)
    (segment,) = store.segments()
    manifest = store.archive.manifest(segment)
    more = structs.replace(manifest, count=5)
    for digit in "0f":  # names before and behind that of the right one
        name = f"{segment}-{digit * 16}.{more.head()}.jsonl.zst"
        store.archive.files.write(name, b"left by a crash")
    assert len(store.archive.orphans(segment)) == 2
    found = store.run("storage_status", now=NOW)
    assert (found["cold"], found["archive_bytes"]) == (1, manifest.bytes)


def test_a_damaged_manifest_that_is_read_is_named_and_the_rest_told(store):
    store.fill(NOW - 93 * DAY, NOW - 80 * DAY)
    store.run("archive_interactions", now=NOW - 10 * DAY)
    segment = store.segments()[0]
    store.archive.files.write(f"{segment}.json", b"damaged")
    ended, said, _ = store.told("storage_status", "--check", "--now", NOW.isoformat())
    found = json.loads(said)
    assert (ended, found["damaged"], found["cold"]) == (1, [f"{segment}.json"], 1)


def test_a_retention_longer_than_time_itself(store, settings):
    settings.RETENTION_TOTAL_DAYS = 1_000_000
    store.fill(NOW)
    assert store.run("storage_status", now=NOW)["overdue_to_purge"] == 0


@pytest.mark.every_backend
def test_what_could_not_be_looked_at_is_not_told_as_zero(store, monkeypatch):
    def fail(*args):
        raise StorageUnavailable("away")

    monkeypatch.setattr(subject, "look", fail)
    found = store.run("storage_status", now=NOW, status=1)
    assert found.keys() == {"command", "status", "dry_run", "seconds"}
    assert found["status"] == "failed"
