"""archive_interactions: to the microsecond, and nothing but what is due."""

import json
import time
import weakref
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection

from chat.maintenance import archiving, usage
from storage.archive.archive import Archive
from storage.exceptions import StorageFull
from tests.chat.maintenance.tiers import MICROSECOND
from tests.clocks import YESTERDAY

pytestmark = pytest.mark.every_backend(exhaustive=True)

NOW = YESTERDAY
DAY = timedelta(days=1)


@pytest.fixture
def bucket_beside_dynamodb():
    return True


@pytest.fixture
def in_berlin(monkeypatch):
    """The clock of this process is Berlin's, where a day may have 23 or 25 hours."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


ODD_DAYS = [
    pytest.param(datetime(2028, 3, 30, tzinfo=UTC), id="over the 29th of February"),
    pytest.param(datetime(2028, 5, 29, tzinfo=UTC), id="90 days behind the 29th of February"),
    pytest.param(datetime(2028, 2, 29, 23, 59, 59, 999999, UTC), id="on the 29th of February"),
    pytest.param(datetime.fromisoformat("2026-03-29T03:00:00+02:00"), id="an hour is skipped"),
    pytest.param(datetime.fromisoformat("2026-10-25T02:30:00+01:00"), id="an hour comes twice"),
    pytest.param(datetime.fromisoformat("2026-11-24T00:00:00+01:00"), id="30 days behind that"),
]


@pytest.mark.every_backend
def test_to_the_microsecond(store, in_berlin):
    assert_to_the_microsecond(store, NOW)


@pytest.mark.on_sqlite("the backends compare times alike; which times is decided above them")
@pytest.mark.parametrize("now", ODD_DAYS)
def test_to_the_microsecond_on_odd_days(store, in_berlin, now):
    assert_to_the_microsecond(store, now)


@pytest.mark.exhaustive
@pytest.mark.on_sqlite("it names its backend")
@pytest.mark.parametrize("now", ODD_DAYS)
@pytest.mark.parametrize("backend", ["dynamodb"], indirect=True)
def test_to_the_microsecond_on_odd_days_in_dynamodb(store, in_berlin, now):
    assert_to_the_microsecond(store, now)


def assert_to_the_microsecond(store, now):
    now_utc = now.astimezone(UTC)
    hot, total = now_utc - 30 * DAY, now_utc - 90 * DAY
    ids = store.fill(
        total - MICROSECOND,
        total,  # is gone, and for purge
        total + MICROSECOND,
        hot - MICROSECOND,
        hot,
        hot + MICROSECOND,  # 29 days 23:59:59.999999
        now_utc,
    )
    summary = store.run("archive_interactions", now=now)
    assert (summary["archived"], summary["remaining"]) == (3, 0)
    assert store.cold() == ids[2:5]
    assert store.hot() == ids[:2] + ids[5:]
    summary = store.run("purge_interactions", now=now)
    assert (summary["hot"], summary["cold"]) == (2, 0)
    assert store.hot() == ids[5:]
    # A microsecond later the next one of each is due.
    summary = store.run("purge_interactions", now=now + MICROSECOND)
    assert (summary["hot"], summary["cold"]) == (0, 1)
    assert store.run("archive_interactions", now=now + MICROSECOND)["archived"] == 1
    assert store.cold() == ids[3:6]
    assert store.hot() == ids[6:]
    store.check_readable(ids[3:])


def test_a_second_run_has_nothing_to_do(store):
    store.fill(*(NOW - 31 * DAY + n * MICROSECOND for n in range(5)))
    assert store.run("archive_interactions", now=NOW)["archived"] == 5
    _, files = store.state()
    summary = store.run("archive_interactions", now=NOW)
    assert (summary["archived"], summary["segments"], summary["finished"]) == (0, 0, 0)
    assert store.state()[1] == files


@pytest.mark.every_backend
def test_segments_are_of_one_day_and_no_larger_than_asked_for(store):
    times = [NOW - 40 * DAY + n * timedelta(hours=1) for n in range(60)]
    ids = store.fill(*times)
    summary = store.run("archive_interactions", "--batch-size", "7", now=NOW)
    counts = [store.archive.manifest(segment).count for segment in store.segments()]
    assert sum(counts) == summary["archived"] == 60
    assert max(counts) == 7
    assert summary["segments"] == len(counts)
    assert [str(day) for day in store.archive.days()] == sorted({str(t.date()) for t in times})
    assert store.cold() == ids
    store.check_readable(ids)


def test_segments_are_bounded_by_their_text(store, monkeypatch):
    monkeypatch.setattr(archiving, "SEGMENT_BYTES", 1000)
    store.fill(*(NOW - 31 * DAY + n * MICROSECOND for n in range(9)), response="r" * 300)
    assert store.run("archive_interactions", now=NOW)["segments"] == 3


def test_a_user_is_in_few_segments_of_a_day(store):
    """40 users with 10 rows each, a minute apart."""
    for number in range(40):
        times = (NOW - 40 * DAY + timedelta(minutes=n, seconds=number) for n in range(10))
        store.fill(*times, user_id=f"user {number}")
    store.run("archive_interactions", "--batch-size", "50", now=NOW)
    assert 8 <= len(store.segments()) <= 12
    users = [f"user {number}" for number in range(40)]
    found = [user for _, some in store.archive.segments_of(users) for user in some]
    assert len(found) <= 40 + 12
    assert set(found) == set(users)


def test_what_is_in_memory_at_once_is_bounded(store, monkeypatch):
    monkeypatch.setattr(archiving, "SLAB_BYTES", 4 * (archiving.ROW_BYTES + 20))
    store.fill(*(NOW - 31 * DAY + n * MICROSECOND for n in range(10)), response="")
    assert store.run("archive_interactions", now=NOW)["segments"] == 3
    assert len(store.cold()) == 10


def test_rows_that_were_moved_are_not_in_memory_while_the_next_are_read(store, monkeypatch):
    monkeypatch.setattr(archiving, "SLAB_BYTES", 4 * (archiving.ROW_BYTES + 20))
    monkeypatch.setattr(archiving, "PAGE", 1)
    store.fill(*(NOW - 31 * DAY + n * MICROSECOND for n in range(10)), response="")
    moved, alive = weakref.WeakSet(), []
    move, whole = archiving._Job.move, archiving.whole

    def noted(job, slab):
        moved.update(slab)
        move(job, slab)

    def counted(*arguments):
        alive.append(len(moved))
        return whole(*arguments)

    monkeypatch.setattr(archiving._Job, "move", noted)
    monkeypatch.setattr(archiving, "whole", counted)
    assert store.run("archive_interactions", now=NOW)["archived"] == 10
    assert alive == [0] * 10


def test_a_dry_run_tells_exactly_and_changes_nothing(store):
    store.fill(*(NOW - n * DAY for n in range(0, 100, 3)))
    before = store.state()
    told = store.run("archive_interactions", "--dry-run", "--batch-size", "2", now=NOW)
    assert store.state() == before
    done = store.run("archive_interactions", "--batch-size", "2", now=NOW)
    for name in ("archived", "segments", "finished"):
        assert told[name] == done[name]
    assert told["remaining"] == told["archived"] == 20
    assert store.run("archive_interactions", "--dry-run", now=NOW)["archived"] == 0


def test_stopped_at_its_bound_it_tells_what_is_left(store):
    store.fill(*(NOW - 31 * DAY + n * MICROSECOND for n in range(5)))
    summary = store.run("archive_interactions", "--max-seconds", "0", now=NOW, status=3)
    assert (summary["status"], summary["archived"], summary["remaining"]) == ("stopped", 0, 5)
    assert store.run("archive_interactions", now=NOW)["archived"] == 5


@pytest.mark.every_backend
def test_what_is_changed_or_deleted_meanwhile_waits_for_the_next_run(store, monkeypatch):
    changed, deleted, left = store.fill(*(NOW - 31 * DAY + n * MICROSECOND for n in range(3)))
    write = Archive.write

    def meanwhile(self, segment, rows):
        manifest = write(self, segment, rows)
        if len(store.hot()) == 3:
            store.storage.update_interaction_sync(changed, {"response": "changed"})
            store.storage.delete_interaction_sync(deleted)
        return manifest

    monkeypatch.setattr(Archive, "write", meanwhile)
    summary = store.run("archive_interactions", now=NOW)
    assert (summary["archived"], summary["changed"], summary["remaining"]) == (1, 2, 2)
    assert (store.hot(), store.cold()) == ([changed], [left])
    assert store.run("archive_interactions", now=NOW)["archived"] == 1
    assert store.storage.get_interaction_sync(changed).response == "changed"
    assert store.storage.get_interaction_sync(deleted) is None


@pytest.mark.every_backend
def test_a_damaged_segment_keeps_nothing_else_hot_but_fails_the_run(store):
    store.fill(NOW - 41 * DAY, NOW - 31 * DAY)
    store.run("archive_interactions", now=NOW - 5 * DAY)
    (segment,) = store.segments()
    store.archive.mark(segment)
    store.archive.files.write(f"{segment}.json", b"damaged")
    status, said, errors = store.told("archive_interactions", "--now", NOW.isoformat())
    assert status == 1
    assert f"{segment}.json in the archive is damaged" in errors
    assert json.loads(said)["archived"] == 1
    assert store.hot() == []
    assert store.archive.marked().keys() == {segment}


def test_two_damaged_segments_keep_nothing_else_from_being_archived_purged_and_restored(store):
    store.fill(*(NOW - days * DAY for days in (99, 60, 50, 45, 31)))
    store.run("archive_interactions", now=NOW - 15 * DAY)
    damaged = store.segments()[1:3]
    for segment in damaged:
        store.archive.mark(segment)
        store.archive.files.write(f"{segment}.json", b"damaged")
    for name, count in (
        ("archive_interactions", "archived"),
        ("purge_interactions", "cold"),
        (f"restore_archive {(NOW - 45 * DAY).date()}", "restored"),
    ):
        status, said, errors = store.told(*name.split(), "--now", NOW.isoformat())
        assert (status, json.loads(said)[count]) == (1, 1), name
        assert all(f"{segment}.json in the archive is damaged" in errors for segment in damaged)


def test_damage_does_not_hide_a_full_disk(store, monkeypatch):
    def full(*_):
        raise StorageFull("There is no space left.")

    store.fill(NOW - 41 * DAY, NOW - 31 * DAY)
    store.run("archive_interactions", now=NOW - 5 * DAY)
    (segment,) = store.segments()
    store.archive.mark(segment)
    store.archive.files.write(f"{segment}.json", b"damaged")
    monkeypatch.setattr(store.archive, "write", full)
    status, _, errors = store.told("archive_interactions", "--now", NOW.isoformat())
    assert (status, "no space left" in errors) == (1, True)


def test_damage_is_told_although_the_time_is_up(store):
    store.fill(NOW - 41 * DAY, NOW - 31 * DAY)
    store.run("archive_interactions", now=NOW - 5 * DAY)
    (segment,) = store.segments()
    store.archive.mark(segment)
    store.archive.files.write(f"{segment}.json", b"damaged")
    for name in ("archive_interactions", "purge_interactions"):
        arguments = (name, "--now", NOW.isoformat(), "--max-seconds", "0")
        status, said, errors = store.told(*arguments)
        assert (status, json.loads(said)["status"]) == (1, "failed")
        assert f"{segment}.json in the archive is damaged" in errors


@pytest.mark.every_backend
def test_long_ids_that_differ_at_their_ends_are_archived_though_of_one_time(
    store, storage, make_interaction, monkeypatch
):
    monkeypatch.setattr(usage, "ROWS_AT_ONCE", 1)
    times = {"created_at": NOW - 40 * DAY, "updated_at": NOW}
    rows = [make_interaction(interaction_id=f"{'😀' * 250}{n}", **times) for n in range(10)]
    storage.create_interactions_sync(rows)
    assert store.run("rebuild_usage", now=NOW)["status"] == "done"
    assert store.run("archive_interactions", "--max-seconds", "60", now=NOW)["archived"] == 10
    assert sorted(store.cold()) == [row.interaction_id for row in rows]


@pytest.mark.on_sqlite("nobody else writes DynamoDB's items")
def test_times_that_break_the_order_of_rows_are_refused_and_not_gone_round(store):
    store.fill(NOW - 40 * DAY, NOW - 40 * DAY + timedelta(hours=1))
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE storage_chatinteraction SET created_at = replace(created_at, ' ', 'T')"
            " WHERE interaction_id = 'i-0000'"
        )
    arguments = ("archive_interactions", "--max-seconds", "60", "--now", NOW.isoformat())
    status, _, errors = store.told(*arguments)
    assert (status, "written by another program" in errors) == (1, True)


@pytest.mark.on_sqlite("nobody else writes DynamoDB's items")
def test_times_that_another_that_another_program_has_written_are_refused_and_not_gone_round(store):
    store.fill(NOW - 41 * DAY, NOW - 40 * DAY)
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE storage_chatinteraction SET created_at = created_at || '.000000'"
            " WHERE created_at NOT LIKE '%.%'"
        )
        assert cursor.rowcount == 2
    status, _, errors = store.told("archive_interactions", "--now", NOW.isoformat())
    assert (status, "written by another program" in errors) == (1, True)
