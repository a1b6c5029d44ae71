"""Usage is counted once, whatever becomes of an interaction; and can be counted again."""

from datetime import UTC, datetime, timedelta
from importlib import import_module

import pytest
from django.db import connection

from chat.maintenance import usage
from chat.maintenance.holds import Hold, put
from chat.maintenance.policy import Policy
from chat.maintenance.purging import Purged, purge
from chat.maintenance.runs import OutOfTime, Run
from storage.accounts import forget_user, roll_ups
from storage.exceptions import DamagedArchive, StorageError
from storage.models import ArchivedInteraction, UsageOfModel, UsageOfUser
from storage.startup import upgrades
from tests.chat.lines import command
from tests.clocks import YESTERDAY

NOW = YESTERDAY
TODAY, OLD, OLDEST = (NOW - timedelta(days=age) for age in (0, 40, 80))

pytestmark = pytest.mark.django_db


@pytest.fixture
def filled(store):
    """Six interactions of two users, of which those of one day are archived."""
    store.fill(TODAY, OLD, OLD, model_used="a", input_tokens=5, output_tokens=7)
    store.fill(TODAY, OLD, user_id="bob", model_used="b", response="", input_tokens=1)
    store.fill(OLDEST, user_id="bob", model_used="a")
    store.run("archive_interactions", now=NOW)
    return store


def numbers(day, model_used):
    """Interactions, unanswered, tokens in and out, hot and cold."""
    found = UsageOfModel.objects.filter(day=day.date(), model_used=model_used)
    return found.values_list(*roll_ups.SUMS, *roll_ups.TIERS).get()


def everything():
    """All roll-ups, without their keys."""
    return [
        sorted(
            UsageOfModel.objects.values_list("day", "model_used", *roll_ups.SUMS, "hot", "cold")
        ),
        sorted(UsageOfUser.objects.values_list("day", "user_id", "model_used", *roll_ups.SUMS)),
    ]


def differences(store):
    with Run(store.storage, now=NOW, dry_run=True) as run:
        return list(usage.verify(store.storage, run, usage.Rebuilt()))


def rebuild(store, **options):
    report = usage.Rebuilt()
    with Run(store.storage, now=NOW, **options) as run:
        usage.rebuild(store.storage, run, report)
    return report


def before_the_upgrade():
    """As a database is that an earlier version has filled, which counted nothing."""
    UsageOfModel.objects.all().delete()
    UsageOfUser.objects.all().delete()
    ArchivedInteraction.objects.update(model_used=None)
    roll_ups.require_rebuild()


def test_a_move_and_a_return_change_the_tier_alone(filled):
    assert numbers(TODAY, "a")[:1] + numbers(TODAY, "a")[4:] == (1, 1, 0)
    assert numbers(OLD, "a") == (2, 0, 10, 14, 0, 2)
    assert numbers(OLD, "b")[:3] == (1, 1, 1)
    before = everything()
    filled.run("restore_archive", OLD.date().isoformat(), now=NOW)
    assert numbers(OLD, "a") == (2, 0, 10, 14, 2, 0)
    assert differences(filled) == []
    filled.run("archive_interactions", now=NOW)
    assert everything() == before


def test_a_deletion_leaves_what_was_used(filled):
    before = numbers(OLD, "a"), numbers(TODAY, "a")
    for interaction_id in ("i-0000", "i-0001"):
        assert filled.storage.delete_interaction_sync(interaction_id)
    assert numbers(TODAY, "a") == (*before[1][:4], 0, 0)
    assert numbers(OLD, "a") == (*before[0][:4], 0, 1)
    assert differences(filled) == []


def test_a_completion_adds_what_it_brings(filled):
    storage = filled.storage
    storage.update_interaction_sync("i-0003", {"response": "yes", "output_tokens": 9})
    assert numbers(TODAY, "b")[:4] == (1, 0, 1, 9)
    storage.update_interaction_sync("i-0003", {"model_used": "c", "input_tokens": 2})
    assert numbers(TODAY, "b") == (0, 0, 0, 0, 0, 0)
    assert numbers(TODAY, "c") == (1, 0, 2, 9, 1, 0)
    again = storage.get_interaction_sync("i-0003")
    again.output_tokens = 10
    storage.save_interaction_sync(again)
    assert numbers(TODAY, "c") == (1, 0, 2, 10, 1, 0)
    assert differences(filled) == []


def test_an_id_that_is_free_again_is_used_again(store, settings):
    settings.RETENTION_TOTAL_DAYS = 36_500
    store.fill(OLD, model_used="a")
    settings.RETENTION_TOTAL_DAYS = 30
    new = store.made["i-0000"]
    new.created_at = new.updated_at = datetime.now(UTC)
    assert store.storage.create_interactions_sync([new]) == ["created"]
    assert [(row.interactions, row.hot) for row in UsageOfModel.objects.order_by("day")] == [
        (1, 0),
        (1, 1),
    ]


def test_the_upgrade_counts_what_was_there(filled):
    exact = everything()
    before_the_upgrade()
    assert filled.storage.database.count_usage(5) is None
    status, _, said = filled.told("archive_interactions", "--now", NOW.isoformat())
    assert (status, said) == (0, "The usage of 3 days was counted again: see rebuild_usage.\n")
    assert everything() == exact
    assert differences(filled) == []
    assert filled.storage.database.count_usage(5) <= datetime.now(UTC)
    filled.storage.delete_interaction_sync("i-0001")  # its stub knows its model now
    assert numbers(OLD, "a")[4:] == (0, 1)


def test_the_migration_asks_for_that_where_anything_is_stored(filled):
    migration = import_module("storage.migrations.0010_usage_changes")
    assert not roll_ups.is_rebuild_due()
    with connection.cursor() as cursor:
        cursor.execute(migration.REBUILD_IF_ANY)
    assert roll_ups.is_rebuild_due()
    assert not upgrades._GOES_THROUGH.match(migration.REBUILD_IF_ANY)
    roll_ups.end_rebuild()
    for interaction_id in filled.hot():
        filled.storage.delete_interaction_sync(interaction_id)
    ArchivedInteraction.objects.all().delete()
    with connection.cursor() as cursor:
        cursor.execute(migration.REBUILD_IF_ANY)
    assert not roll_ups.is_rebuild_due()


def test_what_is_saved_while_a_day_is_counted_is_counted_once(
    filled, monkeypatch, make_interaction
):
    before_the_upgrade()
    add, storage = roll_ups.add, filled.storage

    def add_late(day, corrections):
        if day == TODAY.date():
            storage.copy_interactions([make_interaction(created_at=TODAY, model_used="a")])
            storage.delete_interaction_sync("i-0000")
        add(day, corrections)

    monkeypatch.setattr(roll_ups, "add", add_late)
    rebuild(filled)
    assert numbers(TODAY, "a")[0] == 2
    assert numbers(TODAY, "a")[4:] == (1, 0)
    assert differences(filled) == []


def test_a_rebuild_that_is_stopped_goes_on(filled, monkeypatch):
    exact = everything()
    before_the_upgrade()
    add, done = roll_ups.add, []

    def die_after_two(day, corrections):
        add(day, corrections)
        done.append(day)
        if len(done) == 2:
            raise OutOfTime

    monkeypatch.setattr(roll_ups, "add", die_after_two)
    with pytest.raises(OutOfTime):
        rebuild(filled)
    assert filled.storage.database.count_usage(5) is None
    rebuild(filled)
    assert done == [OLDEST.date(), OLD.date(), TODAY.date()]
    assert everything() == exact


def test_what_is_gone_stays_counted(filled):
    filled.storage.delete_interaction_sync("i-0001")
    before = everything()
    assert rebuild(filled).corrected == 0
    assert everything() == before


def test_each_number_that_is_wrong_is_named_and_corrected(filled):
    exact = everything()
    UsageOfModel.objects.filter(day=OLD.date(), model_used="a").update(cold=5, input_tokens=0)
    UsageOfModel.objects.filter(day=OLDEST.date()).delete()
    UsageOfUser.objects.filter(day=TODAY.date(), user_id="ada").update(output_tokens=8)
    lines = [
        f"{OLDEST:%F} a: cold +1, ",
        f"{OLD:%F} a: cold -3, input_tokens +10",
        f"{TODAY:%F} a, one user: output_tokens -1",
    ]
    status, said, errors = command("rebuild_usage", "--verify")
    assert status == 1
    assert all(map(str.startswith, errors.splitlines(), lines))
    assert errors.splitlines()[-1].startswith("3 differences")
    assert "ada" not in said + errors
    assert everything() != exact
    assert command("rebuild_usage", "--dry-run")[0] == 0
    assert everything() != exact
    assert command("rebuild_usage")[0] == 0
    assert everything() == exact
    status, said, errors = command("rebuild_usage", "--verify")
    assert (status, errors) == (0, "")


def test_a_day_that_cannot_be_read_is_not_taken_for_empty(filled):
    before_the_upgrade()
    (segment,) = filled.archive.segments(OLD.date())
    filled.archive.files.write(f"{segment}.json", b"{")
    with pytest.raises(DamagedArchive):
        rebuild(filled)
    assert filled.storage.database.count_usage(5) is None


def test_usage_of_users_ends_with_the_retention_unless_it_is_held(filled):
    put(filled.archive, Hold("user", "ada", "a claim", NOW))
    later = Policy(NOW + timedelta(days=60), 30, 90)  # what is 40 days old has to go
    with Run(filled.storage, now=later.now) as run:
        purge(filled.storage, later, run, Purged())
    left = set(UsageOfUser.objects.values_list("day", "user_id"))
    assert left == {(TODAY.date(), "ada"), (TODAY.date(), "bob"), (OLD.date(), "ada")}
    assert numbers(OLDEST, "a")[0] == 1
    assert set(UsageOfModel.objects.values_list("cold", flat=True)) == {0}  # nobody can read them
    assert filled.archive.segments(OLD.date())
    assert differences(filled) == []


def test_usage_of_users_on_a_held_day_stays(filled):
    put(filled.archive, Hold("day", f"{OLD:%F}", "an incident", NOW))
    later = Policy(NOW + timedelta(days=60), 30, 90)
    with Run(filled.storage, now=later.now) as run:
        purge(filled.storage, later, run, Purged())
    left = set(UsageOfUser.objects.exclude(day=TODAY.date()).values_list("day", flat=True))
    assert left == {OLD.date()}
    assert differences(filled) == []


def test_an_erasure_takes_the_roll_ups_of_the_user(filled):
    totals = [row[2] for row in everything()[0]]
    assert filled.unconfirmed("erase_user", "ada")[0] == 0
    assert set(UsageOfUser.objects.values_list("user_id", flat=True)) == {"bob"}
    assert [row[2] for row in everything()[0]] == totals
    assert differences(filled) == []


def test_a_restored_copy_forgets_who_was_erased(filled):
    """Up to the day of the erasure, as `bring_up_to_date` does it."""
    forget_user("bob", until=OLD + timedelta(hours=1))
    days = UsageOfUser.objects.filter(user_id="bob").values_list("day", flat=True)
    assert list(days) == [TODAY.date()]


def test_days_that_are_far_apart_keep_nobody_from_being_erased(filled, make_interaction):
    """Such as one that a clock was ahead for."""
    far = make_interaction(user_id="bob", created_at=datetime(9000, 1, 1, tzinfo=UTC))
    filled.storage.save_interaction_sync(far)
    forget_user("ada")
    assert set(UsageOfUser.objects.values_list("user_id", flat=True)) == {"bob"}
    forget_user("bob")
    assert not UsageOfUser.objects.exists()


def test_a_user_is_looked_up_by_the_index(filled):
    rows = roll_ups.rows_of_user("ada", "default")
    assert {row.day for row in rows} == {OLD.date(), TODAY.date()}
    assert "SEARCH storage_usageofuser USING INDEX" in rows.explain()
    assert "(day=? AND user_id=?)" in rows.explain()


def test_errors_of_the_database_are_errors_of_the_storage(filled, monkeypatch):
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE storage_usagerebuild RENAME TO elsewhere")
        try:
            with pytest.raises(StorageError):
                filled.storage.database.count_usage(5)
        finally:
            cursor.execute("ALTER TABLE elsewhere RENAME TO storage_usagerebuild")
