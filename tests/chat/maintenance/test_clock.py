"""A clock that is wrong, by an hour or by decades: nothing is deleted that should not be."""

import json
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
import time_machine

from storage.backups import selection
from storage.backups.folder import BackupFolder
from storage.sqlite import in_use
from tests.chat.lines import command
from tests.sqlite import connect

pytestmark = pytest.mark.every_backend(exhaustive=True)

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
ONLY_THERE = "DynamoDB's own clock decides there"


@pytest.fixture
def travel():
    """Sets the clock of this process ahead or back, as seen from the true time."""
    travels = []

    def to(moment):
        end()
        travels.append(time_machine.travel(moment, tick=True))
        travels[-1].start()

    def end():
        while travels:
            travels.pop().stop()

    to.end = end
    yield to
    end()


@pytest.fixture
def used(store):
    """A store in use: an interaction every six days, and a purge of last night."""
    now = datetime.now(UTC)
    ids = store.fill(*(now - n * 6 * DAY - HOUR for n in reversed(range(15))))
    store.run("archive_interactions", now=now)
    assert store.unconfirmed("purge_interactions")[0] == 0
    return ids


def everything(store):
    return sorted([*store.hot(), *store.cold()])


def refused(store, *arguments):
    """What a purge says that is refused, as is its dry run; it has done nothing."""
    before = store.state()
    for dry in ([], ["--dry-run"]):
        status, said, errors = store.unconfirmed("purge_interactions", *arguments, *dry)
        assert (status, len(errors.splitlines())) == (1, 1), errors
        assert json.loads(said)["status"] == "failed"
    assert store.state() == before
    return errors


@pytest.mark.parametrize("ahead", [8 * DAY, 91 * DAY], ids=["8 days", "91 days"])
@pytest.mark.every_backend
def test_a_clock_that_is_ahead_purges_nothing_unless_confirmed(store, used, travel, ahead):
    travel(datetime.now(UTC) + ahead)
    errors = refused(store)
    assert "Check the clock" in errors
    assert "--yes" in errors
    assert everything(store) == used
    assert store.told("purge_interactions")[0] == 0
    assert len(everything(store)) < len(used)


@pytest.mark.parametrize("behind", [timedelta(0), HOUR, -HOUR], ids=["right", "-1 h", "+1 h"])
@pytest.mark.every_backend
def test_an_hour_makes_no_difference(store, used, travel, behind):
    travel(datetime.now(UTC) - behind)
    assert store.unconfirmed("purge_interactions")[0] == 0
    assert everything(store) == used
    travel.end()
    assert store.unconfirmed("purge_interactions")[0] == 0


def test_in_1970_nothing_is_due_and_afterwards_all_is_well(store, used, travel):
    travel(datetime(1970, 1, 2, tzinfo=UTC))
    assert store.unconfirmed("purge_interactions")[0] == 0
    assert store.unconfirmed("archive_interactions")[0] == 0
    assert everything(store) == used
    travel.end()
    assert store.unconfirmed("purge_interactions")[0] == 0
    assert everything(store) == used


@pytest.mark.parametrize("ahead", [8 * DAY, 91 * DAY], ids=["8 days", "91 days"])
@pytest.mark.every_backend
def test_what_users_save_meanwhile_does_not_make_the_clock_right(store, used, travel, ahead):
    travel(datetime.now(UTC) + ahead)
    late = store.fill(datetime.now(UTC) - HOUR)
    refused(store)
    travel(datetime.now(UTC) + DAY)
    late += store.fill(datetime.now(UTC) - HOUR)
    refused(store)
    assert everything(store) == sorted(used + late)


@pytest.mark.on_sqlite(ONLY_THERE)
def test_a_store_without_new_interactions_is_purged_every_night(store, travel):
    start = datetime.now(UTC)
    store.fill(*(start - n * 3 * DAY - HOUR for n in reversed(range(20, 30))))
    store.run("archive_interactions", now=start)
    assert store.told("purge_interactions")[0] == 0
    for day in range(1, 33):
        travel(start + day * DAY)
        assert store.unconfirmed("purge_interactions")[0] == 0, day
    assert everything(store) == [], "also the last one, which is all that there is"


@pytest.mark.on_sqlite(ONLY_THERE)
def test_one_that_is_used_may_be_purged_once_a_week(store, used, travel):
    start = datetime.now(UTC)
    for week in range(1, 4):
        store.fill(*(start + (7 * week - n) * DAY - HOUR for n in range(7)))
        travel(start + 7 * week * DAY)
        assert store.unconfirmed("purge_interactions")[0] == 0, week


@pytest.mark.on_sqlite(ONLY_THERE)
def test_after_a_pause_it_is_confirmed_once(store, used, travel):
    start = datetime.now(UTC)
    travel(start + 5 * DAY)
    assert "no interaction was saved and no command has run" in refused(store)
    assert store.told("purge_interactions")[0] == 0
    travel(start + 6 * DAY)
    assert store.unconfirmed("purge_interactions")[0] == 0


@pytest.mark.on_sqlite(ONLY_THERE)
def test_a_first_run_is_refused_only_if_something_is_due(store):
    now = datetime.now(UTC)
    store.fill(now - 20 * DAY)
    assert store.unconfirmed("purge_interactions")[0] == 0
    old = store.fill(now - 91 * DAY)
    assert "data that was imported" in refused(store)
    assert store.told("purge_interactions")[0] == 0
    assert set(old).isdisjoint(everything(store))


@pytest.mark.every_backend
def test_another_now_deletes_nothing_unless_confirmed(store, used):
    then = ("--now", (datetime.now(UTC) + 91 * DAY).isoformat())
    status, said, _ = store.unconfirmed("purge_interactions", "--dry-run", *then)
    shown = json.loads(said)
    assert (status, shown["hot"] + shown["cold"]) == (0, len(used))
    status, _, errors = store.unconfirmed("purge_interactions", *then)
    assert (status, len(errors.splitlines())) == (1, 1)
    assert "--now is not the present" in errors
    assert everything(store) == used
    assert store.told("purge_interactions", *then)[0] == 0
    assert everything(store) == []


def test_a_now_that_is_the_present_is_none(store, used):
    now = ("--now", datetime.now(UTC).isoformat())
    assert store.unconfirmed("purge_interactions", *now)[0] == 0
    assert everything(store) == used


def test_more_than_a_share_is_not_purged_unless_confirmed(store, used, settings):
    now = datetime.now(UTC)
    due = store.fill(*(now - 92 * DAY + n * timedelta(seconds=1) for n in range(4)))
    errors = refused(store)
    assert "would delete 4 of 19 interactions" in errors
    assert "PURGE_MAX_PERCENT=20" in errors
    settings.PURGE_MAX_PERCENT = 25
    assert store.unconfirmed("purge_interactions")[0] == 0
    assert set(due).isdisjoint(everything(store))
    assert everything(store) == used


def test_nor_what_days_that_are_set_wrong_would_delete(store, used, settings, monkeypatch):
    def purge(*arguments):
        settings.RETENTION_HOT_DAYS, settings.RETENTION_TOTAL_DAYS = 3, 9
        return command("purge_interactions", *arguments)

    status, _, errors = purge()
    assert (status, "RETENTION_TOTAL_DAYS=9" in errors) == (1, True)
    settings.RETENTION_TOTAL_DAYS = 1_000_000
    assert everything(store) == used


def test_what_is_held_is_no_part_of_the_share(store, used):
    now = datetime.now(UTC)
    held = store.fill(*(now - 95 * DAY + n * HOUR for n in range(9)), user_id="held")
    hold = ("legal_hold", "add", "--user", "held", "--reason", "a case")
    assert store.told(*hold)[0] == 0
    assert store.unconfirmed("purge_interactions")[0] == 0
    assert set(held) <= set(everything(store))


def test_other_runs_delete_nothing_by_age(store, used, travel):
    """A segment that is to be compacted keeps what its stubs say, whatever the clock says."""
    cold = store.cold()
    assert store.storage.delete_interaction_sync(cold[0])
    for segment in store.segments():
        store.archive.mark(segment)
    travel(datetime.now(UTC) + 91 * DAY)
    assert store.unconfirmed("archive_interactions")[0] == 0
    assert store.archive.marked() == {}
    travel.end()
    assert everything(store) == sorted(set(used) - {cold[0]})


@pytest.mark.on_sqlite("it is about files of the SQL database")
class TestBackups:
    @pytest.fixture
    def backups(self, store, settings, tmp_path, monkeypatch):
        """Four backups of a small database, of four days ago to yesterday; a store in use."""
        now = datetime.now(UTC)
        store.fill(now - HOUR)
        store.storage.database.record_run("purge_interactions", now)
        database = tmp_path / "small.sqlite3"
        with closing(connect(database)) as connection:
            connection.execute("CREATE TABLE a (b)")
        monkeypatch.setattr(selection, "_database", lambda: database)
        settings.BACKUP_DIR, settings.BACKUP_KEEP_DAYS = tmp_path / "backups", 7
        for days in (4, 3, 2, 1):
            BackupFolder(settings.BACKUP_DIR, 7 * DAY).take(database, now - days * DAY)
        yield names(settings)
        in_use.release(str(database))

    def test_a_clock_that_is_ahead_deletes_and_makes_none(self, settings, backups, travel):
        for ahead in (8 * DAY, 91 * DAY):
            travel(datetime.now(UTC) + ahead)
            for arguments in ([], ["--dry-run"]):
                status, _, errors = command("backup", *arguments)
                assert (status, "Check the clock" in errors) == (1, True)
                assert names(settings) == backups
            travel.end()
        assert command("backup")[0] == 0
        assert len(names(settings)) == 5

    @pytest.mark.parametrize("then", [8 * DAY, 91 * DAY])
    def test_the_two_newest_stay_whatever_the_clock_says(self, settings, backups, travel, then):
        travel(datetime.now(UTC) + then)
        status, said, _ = command("backup", "--yes", "--dry-run")
        assert (status, json.loads(said)["deleted"]) == (0, backups[:3])
        status, said, _ = command("backup", "--yes")
        assert (status, json.loads(said)["deleted"]) == (0, backups[:3])
        assert names(settings)[0] == backups[3]
        assert len(names(settings)) == 2

    def test_another_now_deletes_none_unless_confirmed(self, settings, backups):
        then = ("--now", (datetime.now(UTC) + 20 * DAY).isoformat())
        status, said, _ = command("backup", "--dry-run", *then)
        assert (status, json.loads(said)["deleted"]) == (0, backups[:3])
        assert command("backup", *then)[0] == 1
        assert names(settings) == backups

    def test_in_1970_none_is_deleted(self, settings, backups, travel):
        travel(datetime(1970, 1, 2, tzinfo=UTC))
        assert command("backup")[0] == 0
        assert set(backups) < set(names(settings))

    def test_every_night_one_goes(self, settings, backups, travel):
        start = datetime.now(UTC)
        for day in range(5):
            travel(start + day * DAY)
            assert command("backup")[0] == 0
        assert len(names(settings)) == 7


def names(settings):
    return sorted(path.stem for path in settings.BACKUP_DIR.glob("backup-*.json"))


def test_what_it_costs_grows_with_what_is_due_alone(store, used, monkeypatch):
    """A purge that has nothing to do looks at no manifest."""
    looked = []
    manifest = store.archive.manifest
    monkeypatch.setattr(
        store.archive, "manifest", lambda each: looked.append(each) or manifest(each)
    )
    assert store.unconfirmed("purge_interactions")[0] == 0
    assert looked == []
