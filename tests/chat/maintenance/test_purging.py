"""purge_interactions: what is past all its days goes, wherever it is, and nothing else."""

import json
import sqlite3
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.db import connection

from chat.maintenance import holds
from chat.maintenance.holds import Hold
from storage.accounts import audit_chain, audit_log, intake
from storage.accounts.intake import Count
from storage.archive.archive import Archive
from storage.archive.files import Files
from storage.models import (
    ApiKeyUse,
    ArchivedInteraction,
    AuditEntry,
    IdempotencyRecord,
    IntakeCount,
)
from storage.sqlite import space
from storage.sqlite.base import close_pool
from tests.chat.maintenance.tiers import LAST, MICROSECOND
from tests.clocks import Clock

pytestmark = pytest.mark.every_backend(exhaustive=True)

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def archived(store):
    """Interactions in the archive: hourly from noon, 92 days ago, to noon, 89 days ago."""
    ids = store.fill(*(NOW - 92 * DAY + n * timedelta(hours=1) for n in range(73)))
    store.run("archive_interactions", "--batch-size", "10", now=NOW - 59 * DAY)
    assert store.cold() == ids
    return ids


@pytest.mark.every_backend
def test_whole_segments_go_and_that_at_the_border_is_rewritten(store, archived):
    before = store.segments()
    border = [
        segment
        for segment in before
        if store.archive.manifest(segment).oldest
        <= NOW - 90 * DAY
        < store.archive.manifest(segment).newest
    ]
    assert len(border) == 1
    summary = store.run("purge_interactions", now=NOW)
    assert (summary["cold"], summary["remaining"]) == (49, 0)
    assert store.cold() == archived[49:]
    assert border[0] in store.segments()
    assert summary["segments"] == len(before) - len(store.segments())
    store.check_readable(archived[49:])
    assert store.run("purge_interactions", now=NOW)["cold"] == 0


@pytest.mark.every_backend
def test_nothing_is_left_of_what_is_gone(store, archived):
    summary = store.run("purge_interactions", now=NOW + 9 * DAY)
    assert summary["cold"] == len(archived)
    assert store.archive.days() == []
    _, files = store.state()
    assert files.keys() == {"archive.json"}
    if hasattr(store.storage.database, "client"):
        return  # TTL takes the stubs
    assert summary["stubs"] == len(archived)
    assert not ArchivedInteraction.objects.exists()


@pytest.mark.every_backend
def test_what_was_never_archived_goes_too(store):
    ids = store.fill(NOW - 91 * DAY, NOW - 90 * DAY, NOW - 90 * DAY + MICROSECOND, NOW)
    summary = store.run("purge_interactions", "--batch-size", "1", now=NOW)
    assert (summary["hot"], summary["cold"], summary["remaining"]) == (2, 0, 0)
    assert store.hot() == ids[2:]


@pytest.mark.every_backend
def test_a_dry_run_tells_exactly_and_changes_nothing(store, archived):
    store.fill(*(NOW - 95 * DAY + n * timedelta(hours=1) for n in range(3)), user_id="held")
    store.fill(NOW - 93 * DAY, NOW)
    holds.put(store.archive, Hold("user", "held", "a case", NOW))
    store.archive.mark(store.segments()[0])
    before = store.state()
    told = store.run("purge_interactions", "--dry-run", now=NOW)
    assert store.state() == before
    done = store.run("purge_interactions", now=NOW)
    for name in ("finished", "cold", "segments", "hot", "held", "unreadable"):
        assert told[name] == done[name], name
    assert (told["hot"], told["held"], told["finished"]) == (1, 3, 1)
    assert told["remaining"] == told["cold"] + told["hot"]


class TestHolds:
    @pytest.fixture
    def of_two(self, store):
        """Interactions of ada and bob by turns, on two days, all past their time at NOW."""
        times = [NOW - 100 * DAY, NOW - 99 * DAY]
        ids = {user: store.fill(*times, user_id=user) for user in ("ada", "bob")}
        store.run("archive_interactions", now=NOW - 69 * DAY)
        ids |= {f"hot {user}": store.fill(*times, user_id=user) for user in ("ada", "bob")}
        return ids

    @pytest.mark.every_backend
    def test_what_is_held_stays_and_is_counted(self, store, of_two):
        hold = Hold("user", "ada", "a case", NOW)
        holds.put(store.archive, hold)
        for _ in range(2):
            summary = store.run("purge_interactions", now=NOW)
            assert summary["held"] == 4
        assert store.hot() == of_two["hot ada"]
        rows = [row for segment in store.segments() for row in store.archive.rows(segment)]
        assert [row.interaction_id for row in rows] == of_two["ada"]
        holds.lift(store.archive, hold)
        summary = store.run("purge_interactions", now=NOW)
        assert (summary["held"], summary["hot"], summary["cold"]) == (0, 2, 2)
        assert (store.hot(), store.segments()) == ([], [])

    def test_a_day_is_held_whole(self, store, of_two):
        day = (NOW - 99 * DAY).date()
        holds.put(store.archive, Hold("day", day.isoformat(), "an incident", NOW))
        summary = store.run("purge_interactions", now=NOW)
        assert (summary["held"], summary["hot"], summary["cold"]) == (4, 2, 2)
        assert store.archive.days() == [day]


class TestDamage:
    """A damaged file never keeps anything else beyond its time."""

    def test_of_a_day_that_is_over(self, store, archived):
        lost, damaged, *_ = store.segments()
        store.archive.files.delete(f"{lost}.json")
        store.archive.files.write(f"{damaged}.json", b"damaged")
        told = store.run("purge_interactions", "--dry-run", now=NOW + 9 * DAY)
        done = store.run("purge_interactions", now=NOW + 9 * DAY)
        assert told["unreadable"] == done["unreadable"] == 1
        # How many rows the damaged one has, the name of its file tells.
        assert told["cold"] == done["cold"] == len(archived) - 10
        assert store.state()[1].keys() == {"archive.json"}

    def test_of_a_day_that_is_not_over(self, store, archived):
        day = (NOW - 90 * DAY).date()
        damaged = store.archive.segments(day)[0]
        data = store.archive.manifest(damaged).data
        store.archive.files.write(f"{damaged}.json", b"damaged")
        status, said, errors = store.told("purge_interactions", "--now", NOW.isoformat())
        assert status == 1
        assert f"{damaged}.json in the archive is damaged" in errors
        assert json.loads(said)["cold"] == 49 - 10
        assert store.archive.files.read(data) is not None
        assert store.archive.marked() == {}

    def test_while_something_is_held(self, store, archived):
        """Whose rows it has, nobody can tell."""
        damaged = store.segments()[0]
        store.archive.files.write(f"{damaged}.json", b"damaged")
        holds.put(store.archive, Hold("user", "ada", "a case", NOW))
        status, _, errors = store.told("purge_interactions", "--now", NOW.isoformat())
        assert status == 1
        assert f"{damaged}.json in the archive is damaged" in errors
        assert f"{damaged}.json" in store.state()[1]

    def test_files_of_others_stay(self, store, archived):
        segment = store.segments()[0]
        for name in (f"{segment}.txt", f"{segment[:11]}README"):
            store.archive.files.write(name, b"mine")
        assert store.run("purge_interactions", now=NOW + 9 * DAY)["unreadable"] == 0
        assert {f"{segment}.txt", f"{segment[:11]}README"} <= store.state()[1].keys()


def test_stopped_at_its_bound_it_tells_what_is_left(store, archived, monkeypatch):
    summary = store.run("purge_interactions", "--max-seconds", "0", now=NOW + 9 * DAY, status=3)
    assert (summary["status"], summary["cold"]) == ("stopped", 0)
    assert summary["remaining"] is None  # there was no time to count
    remove_all, removed = Archive.remove_all, []

    def stopping(self, segments):
        remove_all(self, segments)
        removed.append(segments)
        if len(removed) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(Archive, "remove_all", stopping)
    summary = store.run("purge_interactions", now=NOW + 9 * DAY, status=130)
    assert 0 < summary["cold"] == 73 - summary["remaining"]
    monkeypatch.setattr(Archive, "remove_all", remove_all)
    assert store.run("purge_interactions", now=NOW + 9 * DAY)["finished"] == len(removed[1])
    assert store.archive.days() == []


@pytest.mark.on_sqlite("S3 deletes many files in one request")
def test_killed_between_any_two_files_that_go_together(store, archived, monkeypatch):
    """Whatever it leaves, any next run settles, and nothing is lost or taken for damage."""
    unlink, left = Path.unlink, []

    def dying(path, missing_ok=False):
        if not left:
            raise KeyboardInterrupt
        left.pop()
        unlink(path, missing_ok)

    found_lost = 0
    for number in range(5):
        left[:] = range(number)
        with monkeypatch.context() as killed:
            killed.setattr(Path, "unlink", dying)
            store.run("purge_interactions", now=NOW, status=130)
        found_lost += sum(len(store.archive.listed(day)[1]) for day in store.archive.days())
        store.run("archive_interactions", now=NOW)
        assert store.archive.marked() == {}
        for day in store.archive.days():
            assert store.archive.listed(day)[1] == []
        for segment in store.segments():
            store.archive.verify(segment)
        store.check_readable(archived[49:])
    assert found_lost > 2
    store.run("purge_interactions", now=NOW)
    assert store.cold() == archived[49:]


@pytest.mark.every_backend
def test_a_day_that_is_over_goes_at_once(store, monkeypatch):
    """Its segments are not read, listed or deleted one by one, however many they are."""
    days = [datetime(2026, 8, day, tzinfo=UTC) for day in (1, 3, 5)]
    for day, count in zip(days, (5, 10, 40), strict=True):
        store.fill(*(day + number * timedelta(minutes=1) for number in range(count)))
    store.run("archive_interactions", "--batch-size", "5", now=days[2] + 40 * DAY)
    used = Counter()
    for name in ("read", "list", "create_all", "delete_all", "remove_leftovers"):
        monkeypatch.setattr(Files, name, counting(used, name, getattr(Files, name)))
    counts = []
    for day, segments in zip(days, (1, 2, 8), strict=True):
        used.clear()
        summary = store.run("purge_interactions", now=day + 91 * DAY)
        assert summary["segments"] == segments
        counts.append(dict(used))
    assert counts[1] == counts[2]
    assert counts[2]["create_all"] == 1


def counting(used, name, function):
    def count(*args, **kwargs):
        used[name] += 1
        return function(*args, **kwargs)

    return count


@pytest.mark.on_sqlite("DynamoDB deletes them by its TTL")
def test_idempotency_keys_past_their_day(store):
    for number in range(-2, 3):
        IdempotencyRecord.objects.create(
            key=f"{number}", request="", interaction_id="", expires_at=NOW + number * MICROSECOND
        )
    assert store.run("purge_interactions", "--dry-run", now=NOW)["idempotency_records"] == 3
    assert IdempotencyRecord.objects.count() == 5
    assert store.run("purge_interactions", now=NOW)["idempotency_records"] == 3
    assert set(IdempotencyRecord.objects.values_list("key", flat=True)) == {"1", "2"}


def test_counts_of_the_intake_past_their_31_days(store):
    ages = [timedelta(days=31, microseconds=number) for number in (-1, 0, 1)]
    intake.add([Count(NOW - age, "otlp", "received", 1, NOW - age) for age in ages])
    assert store.run("purge_interactions", "--dry-run", now=NOW)["intake_counts"] == 2
    assert IntakeCount.objects.count() == 3
    assert store.run("purge_interactions", now=NOW)["intake_counts"] == 2
    assert IntakeCount.objects.get().hour == NOW - ages[0]


def test_the_audit_log_and_the_use_of_keys_past_their_days(store, settings):
    settings.AUDIT_KEEP_DAYS = 400
    for _ in range(3):
        audit_log.record(audit_log.Action.LISTED, "grace")
    later = datetime.now(UTC) + 401 * DAY
    for age in (90, 91):
        ApiKeyUse.objects.create(prefix="p", day=(later - age * DAY).date())
    found = ("audit_entries", "api_key_uses")
    dry = store.run("purge_interactions", "--dry-run", now=later)
    assert [dry[name] for name in found] == [3, 1]
    before = store.run("purge_interactions", now=later - 2 * DAY)
    assert before["audit_entries"] == 0
    done = store.run("purge_interactions", now=later)
    assert [done[name] for name in found] == [3, 1]
    assert audit_chain.verify().entries == AuditEntry.objects.count() == 1  # the mark
    assert store.run("purge_interactions", now=later)["audit_entries"] == 0


@pytest.mark.on_sqlite("it is about the file of the database")
class TestSpace:
    @pytest.fixture
    def large(self, store):
        """4 MB that are to go, in a database made as the application makes it."""
        made("INCREMENTAL")
        store.fill(*(NOW - 91 * DAY + n * MICROSECOND for n in range(400)), response="r" * 10_000)
        store.fill(NOW)
        connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return Path(connection.settings_dict["NAME"])

    def test_the_file_shrinks_and_the_log_is_empty(self, store, large):
        before = large.stat().st_size
        summary = store.run("purge_interactions", now=NOW)
        given = before - large.stat().st_size
        assert given > 4_000_000
        assert summary["reclaimed_bytes"] >= given
        assert summary["unreclaimed_bytes"] == 0
        # The run gives its lock back then.
        assert large.with_name(f"{large.name}-wal").stat().st_size < 100_000

    def test_writers_have_as_much_time_as_is_taken_to_return_space(self, store, large, monkeypatch):
        class EachStepTakesASecond(Clock):
            def monotonic(self):
                self.passes(1.0)
                return self.steady

            def sleep(self, seconds):
                pauses.append(seconds)

        pauses = []
        monkeypatch.setattr(space, "time", EachStepTakesASecond())
        returned = store.run("purge_interactions", now=NOW)["reclaimed_bytes"]
        assert pauses == [1.0] * len(pauses)
        assert len(pauses) > returned / 4096 / space.PAGES_AT_ONCE > 10

    @pytest.fixture
    def in_a_hurry(self, store):
        """This thread's connection waits 0.2 s at most. No later test may borrow it."""
        connection.cursor().execute("PRAGMA busy_timeout = 200")
        yield
        connection.close()
        close_pool(str(connection.settings_dict["NAME"]))

    @pytest.mark.usefixtures("in_a_hurry")
    def test_a_reader_is_not_in_the_way(self, store, large):
        reader = sqlite3.connect(large, isolation_level=None)
        reader.execute("BEGIN")
        table = ArchivedInteraction._meta.db_table
        assert reader.execute(f"SELECT COUNT(*) FROM {table}").fetchone() == (0,)
        summary = store.run("purge_interactions", now=NOW)
        assert (summary["status"], summary["hot"]) == ("done", 400)
        reader.execute("COMMIT")
        reader.close()
        assert len(store.storage.oldest(LAST, 5)) == 1

    def test_a_database_made_without_auto_vacuum_says_what_it_keeps(self, store, large):
        made("NONE")
        summary = store.run("purge_interactions", now=NOW)
        assert summary["reclaimed_bytes"] == 0
        assert summary["unreclaimed_bytes"] > 4_000_000


def made(auto_vacuum):
    with connection.cursor() as cursor:
        cursor.execute(f"PRAGMA auto_vacuum = {auto_vacuum}")
        cursor.execute("VACUUM")
