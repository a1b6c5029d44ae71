"""Legal holds: what is held is not deleted, and everyone who tries is told."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from chat.maintenance.erasure import ledger
from chat.maintenance.holds import FOLDER, LOST_STUBS, Holds
from chat.maintenance.runs import LOCK, Run
from chat.management.commands import legal_hold
from storage import expiry
from tests.chat.lines import command

pytestmark = pytest.mark.every_backend(exhaustive=True)

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
DAY = datetime(2026, 9, 30, 8, tzinfo=UTC)
LATER = NOW + timedelta(days=80)
"""When all of DAY, and of the day after, is past its time."""


@pytest.fixture
def held(store):
    """Runs legal_hold; gives what it says besides the summary."""

    def run(*arguments, status=0):
        ended, said, errors = store.told("legal_hold", "--now", NOW.isoformat(), *arguments)
        assert ended == status, errors
        assert json.loads(said)["command"] == "legal_hold"
        return errors.splitlines()

    return run


@pytest.fixture
def people(store):
    """Interactions of ada and bob on DAY and on the day after, all of them cold; ids by user."""
    times = (DAY, DAY + timedelta(days=1))
    ids = {user: store.fill(*times, user_id=user) for user in ("ada", "bob")}
    store.run("archive_interactions", now=NOW)
    return ids


def test_the_reason_that_another_one_replaces_is_told(held):
    """It is kept nowhere else: what commands do is not in the audit log."""
    assert held("add", "--user", "ada", "--reason", "case 1") == []
    assert held("add", "--user", "ada", "--reason", "case 1") == []
    told = "This user has been held since 2026-11-22 12:00Z for another reason: case 1"
    assert held("add", "--user", "ada", "--reason", "case 2", "--dry-run") == [told]
    assert held("add", "--user", "ada", "--reason", "case 2") == [told]
    assert held("list") == ["user ada since 2026-11-22 12:00Z: case 2"]


def refused(store, *arguments):
    status, _, errors = store.told("erase_user", *arguments)
    assert status == 1
    return errors


@pytest.mark.parametrize(
    "run",
    [
        ("archive_interactions",),
        ("purge_interactions",),
        ("restore_archive", DAY.date().isoformat()),
        ("erase_user", "bob"),
        ("storage_status",),
    ],
    ids=lambda run: run[0],
)
def test_a_run_reads_the_holds_once(store, held, people, monkeypatch, run):
    held("add", "--user", "ada", "--reason", "a case")
    store.archive.mark(store.segments()[0])
    read, names = store.archive.files.read_document, []

    def counted(name):
        names.append(name)
        return read(name)

    monkeypatch.setattr(store.archive.files, "read_document", counted)
    store.run(*run, now=NOW)
    assert sum(name.startswith(f"{FOLDER}/") for name in names) == 1


def test_holds_are_listed_with_their_reason(held, store):
    held("add", "--user", "née/b", "--reason", "case 4711")
    held("add", "--day", "2026-09-30", "--reason", "incident 12")
    assert held("list") == [
        "day 2026-09-30 since 2026-11-22 12:00Z: incident 12",
        "user née/b since 2026-11-22 12:00Z: case 4711",
    ]
    assert store.run("legal_hold", "list", now=NOW)["holds"] == 2
    held("lift", "--user", "née/b")
    assert held("list") == ["day 2026-09-30 since 2026-11-22 12:00Z: incident 12"]


def test_adding_it_again_changes_the_reason_and_not_since_when(held, store):
    held("add", "--user", "ada", "--reason", "case 1")
    later = (NOW + timedelta(days=1)).isoformat()
    store.told("legal_hold", "add", "--user", "ada", "--reason", "case 2", "--now", later)
    assert held("list") == ["user ada since 2026-11-22 12:00Z: case 2"]


def test_also_a_command_that_ends_early_says_how_many_holds_there_are(store, held, storage):
    held("add", "--user", "ada", "--reason", "case")
    refused = store.run("legal_hold", "lift", "--user", "bob", now=NOW, status=1)
    assert refused["holds"] == 1
    assert storage.database.acquire_lock(LOCK, "a purge", 60)
    adding = ("add", "--user", "bob", "--reason", "case", "--max-seconds", "0")
    assert store.run("legal_hold", *adding, now=NOW, status=3)["holds"] == 2


def test_lifting_what_is_not_held_is_an_error(held):
    assert "There is no hold on this user." in held("lift", "--user", "ada", status=1)
    assert "There is no hold on this day." in held("lift", "--day", "2026-09-30", status=1)


def test_a_dry_run_changes_nothing(held, store):
    held("add", "--user", "ada", "--reason", "case", "--dry-run")
    assert held("list") == []
    held("add", "--user", "ada", "--reason", "case")
    held("lift", "--user", "ada", "--dry-run")
    assert len(held("list")) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["add", "--reason", "x"],
        ["add", "--user", "ada"],
        ["add", "--user", "ada", "--reason", " "],
        ["add", "--user", "ada", "--reason", "two\nlines"],
        ["add", "--user", "ada", "--day", "2026-09-30", "--reason", "x"],
        ["add", "--user", "", "--reason", "x"],
        ["add", "--day", "2026-02-30", "--reason", "x"],
        ["lift"],
        ["list", "--user", "ada"],
        ["remove"],
        [],
    ],
    ids=" ".join,
)
def test_wrong_use(store, arguments, capsys):
    with pytest.raises(SystemExit) as end:
        legal_hold.Command().run_from_argv(["manage.py", "legal_hold", *arguments])
    assert end.value.code == 2
    assert Holds.of(store.archive).all == []


# What is held.


@pytest.mark.parametrize("pending", [False, True], ids=["by name", "pending"])
@pytest.mark.every_backend
def test_a_held_user_is_not_erased(held, store, people, pending):
    if pending:
        ledger.request(store.archive, "ada")
    held("add", "--user", "ada", "--reason", "Ada against Bob")
    errors = refused(store, *(["--pending"] if pending else ["ada"]))
    assert "under a legal hold since 2026-11-22" in errors
    assert "Ada" not in errors
    assert "legal hold" in refused(store, "ada", "--dry-run")
    store.check_readable(people["ada"] + people["bob"])
    assert list(ledger.done(store.archive)) == []
    assert len(ledger.pending_ids(store.archive)) == pending
    held("lift", "--user", "ada")
    assert store.run("erase_user", "ada", now=NOW)["counts"] == {"cold": 2}


@pytest.mark.parametrize("tier", ["hot", "cold"])
@pytest.mark.every_backend
def test_a_user_with_interactions_of_a_held_day_is_not_erased(held, store, people, tier):
    if tier == "hot":
        store.run("restore_archive", "2026-09-30", now=NOW)
    held("add", "--day", "2026-09-30", "--reason", "incident")
    assert "interactions of 2026-09-30" in refused(store, "ada")
    store.check_readable(people["ada"])
    assert ledger.pending_ids(store.archive) == []
    held("lift", "--day", "2026-09-30")
    held("add", "--day", "2026-10-02", "--reason", "a day without any of ada's")
    assert store.run("erase_user", "ada", now=NOW)["remaining"] == 0


def test_a_hold_on_the_last_day_that_there_is_keeps_nobody_from_being_erased(held, store, people):
    """Somebody may have meant: for ever."""
    held("add", "--day", "9999-12-31", "--reason", "Case 4")
    assert store.run("erase_user", "ada", now=NOW)["counts"] == {"cold": 2}


def test_one_held_user_keeps_no_other_from_being_erased(held, store, people):
    for user in ("ada", "bob"):
        ledger.request(store.archive, user)
    held("add", "--user", "ada", "--reason", "case")
    refused(store, "--pending")
    assert [each.user_id for each in ledger.pending(store.archive)] == ["ada"]
    assert [each.status for each in ledger.done(store.archive)] == ["done"]


@pytest.mark.every_backend
def test_purge_skips_what_is_held_and_says_so(held, store, people):
    held("add", "--user", "ada", "--reason", "case")
    held("add", "--day", "2026-09-30", "--reason", "incident")
    summary = store.run("purge_interactions", now=LATER)
    assert (summary["cold"], summary["held"]) == (1, 3)
    kept = [row.interaction_id for each in store.segments() for row in store.archive.rows(each)]
    assert sorted(kept) == sorted([*people["ada"], people["bob"][0]])
    held("lift", "--user", "ada")
    held("lift", "--day", "2026-09-30")
    summary = store.run("purge_interactions", now=LATER)
    assert (summary["cold"], summary["held"]) == (3, 0)
    assert store.segments() == []


@pytest.mark.every_backend
def test_what_is_held_and_past_its_time_is_archived_so_that_its_id_may_be_used_again(
    held, store, storage, monkeypatch
):
    """Hot it would give way to what takes its id, and to DynamoDB's TTL."""
    ids = {user: store.fill(DAY, DAY + timedelta(days=1), user_id=user) for user in ("ada", "bob")}
    held("add", "--user", "ada", "--reason", "case")
    held("add", "--day", "2026-09-30", "--reason", "incident")
    expected = sorted([*ids["ada"], ids["bob"][0]])
    assert store.run("archive_interactions", "--dry-run", now=LATER)["archived"] == 3
    summary = store.run("archive_interactions", now=LATER)
    assert (summary["archived"], summary["remaining"]) == (3, 0)
    assert store.cold() == expected
    assert store.hot() == ids["bob"][1:]
    monkeypatch.setattr(expiry, "cutoff", lambda: LATER - timedelta(days=90))
    store.fill(LATER, user_id="cy")
    again = store.made[ids["ada"][0]]
    again.created_at = again.updated_at = LATER
    assert storage.create_interaction_sync(again)[1]
    store.run("purge_interactions", now=LATER)
    kept = [row.interaction_id for each in store.segments() for row in store.archive.rows(each)]
    assert sorted(kept) == expected
    assert store.run("archive_interactions", now=LATER)["archived"] == 0


def test_erasing_one_user_keeps_what_is_held_of_others_beyond_its_time(held, store, people):
    held("add", "--user", "bob", "--reason", "case")
    store.run("erase_user", "ada", now=LATER)
    kept = [row.interaction_id for each in store.segments() for row in store.archive.rows(each)]
    assert sorted(kept) == sorted(people["bob"])


@pytest.mark.parametrize(
    "run",
    [("restore_archive", DAY.date().isoformat()), ("archive_interactions",), ("erase_user", "cy")],
    ids=lambda run: run[0],
)
@pytest.mark.every_backend
def test_what_is_held_beyond_its_time_stays_in_a_run_as_of_an_earlier_time(
    held, store, people, monkeypatch, run
):
    """Its stub is gone, so that it looks as if it had been deleted."""
    held("add", "--user", "ada", "--reason", "case")
    monkeypatch.setattr(expiry, "cutoff", lambda: LATER - timedelta(days=90))
    store.run("purge_interactions", now=LATER)
    store.archive.mark(store.segments()[0])
    store.told(*run, "--now", NOW.isoformat())
    kept = [row.interaction_id for each in store.segments() for row in store.archive.rows(each)]
    assert sorted(kept) == sorted(people["ada"])


@pytest.mark.parametrize(
    "run",
    [("restore_archive", DAY.date().isoformat()), ("archive_interactions",), ("erase_user", "cy")],
    ids=lambda run: run[0],
)
def test_what_is_held_beyond_its_time_stays_when_that_time_becomes_longer(
    held, store, people, settings, run
):
    """RETENTION_TOTAL_DAYS is more from now on, and it would look as if it had been deleted."""
    held("add", "--user", "ada", "--reason", "case")
    store.run("purge_interactions", now=LATER)
    for segment in store.segments():  # on DynamoDB the TTL does
        store.storage.database.drop_stubs(people["ada"], segment)
    store.archive.mark(store.segments()[0])
    status, _, errors = longer(settings, *run)
    assert status == (1 if run[0] == "erase_user" else 0), errors
    kept = [row.interaction_id for each in store.segments() for row in store.archive.rows(each)]
    assert sorted(kept) == sorted(people["ada"])
    assert longer(settings, "verify_archive")[0] == 0


def test_what_is_held_and_restored_after_that_is_not_in_the_archive_as_well(held, store, settings):
    """It has no stub because it is hot, and may be deleted or be another one by now."""
    held("add", "--user", "ada", "--reason", "case")
    store.run("purge_interactions", now=LATER)
    ids = store.fill(DAY, DAY)
    assert longer(settings, "archive_interactions")[0] == 0
    assert longer(settings, "restore_archive", DAY.date().isoformat())[0] == 0
    assert (sorted(store.hot()), store.segments()) == (sorted(ids), [])


def test_what_is_held_beyond_that_time_is_exported_also_from_a_marked_segment(
    held, store, people, settings, tmp_path
):
    held("add", "--user", "ada", "--reason", "case")
    store.run("purge_interactions", now=LATER)
    for segment in store.segments():  # on DynamoDB the TTL does
        store.storage.database.drop_stubs(people["ada"], segment)
    settings.RETENTION_TOTAL_DAYS = 365
    for mark in (False, True):
        if mark:
            store.archive.mark(store.segments()[0])
        status, said, errors = command("export_user", "ada", f"--output={tmp_path / str(mark)}")
        assert (status, json.loads(said)["exported"]) == (0, len(people["ada"])), errors


def longer(settings, *arguments):
    """What a command says when a year is kept."""
    settings.RETENTION_TOTAL_DAYS = 365
    return command(*arguments, "--now", LATER.isoformat())


@pytest.mark.every_backend
def test_a_dry_restore_as_of_an_earlier_time_counts_nothing_that_has_no_stub(
    held, store, people, monkeypatch
):
    held("add", "--user", "ada", "--reason", "case")
    monkeypatch.setattr(expiry, "cutoff", lambda: LATER - timedelta(days=90))
    store.run("purge_interactions", now=LATER)
    for segment in store.segments():  # on DynamoDB the TTL does
        store.storage.database.drop_stubs(people["ada"], segment)
    for dry in (["--dry-run"], []):
        told = store.run("restore_archive", "2026-09-30", *dry, now=NOW)
        assert (told["restored"], told["remaining"]) == (0, 0)


def test_a_damaged_hold_lets_nothing_be_deleted(held, store, people):
    held("add", "--user", "ada", "--reason", "case")
    (name,) = store.archive.files.list(FOLDER)
    store.archive.files.write(f"{FOLDER}/{name}", b"damaged")
    assert name in refused(store, "bob")
    assert name in held("add", "--user", "bob", "--reason", "case", status=1)[-1]
    assert len(store.archive.files.list(FOLDER)) == 2, "it is in place all the same"
    status, _, errors = store.told("purge_interactions", "--now", LATER.isoformat())
    assert (status, name in errors) == (1, True)
    store.check_readable(people["ada"] + people["bob"])


def test_damage_of_what_is_remembered_of_lost_stubs_is_found_and_stops_no_purge(
    held, store, people
):
    held("add", "--user", "ada", "--reason", "case")
    store.run("purge_interactions", now=NOW)
    assert store.run("verify_archive", now=NOW)["documents"] == 3
    store.archive.files.write(LOST_STUBS, b"damaged")
    status, _, errors = store.told("verify_archive", "--now", NOW.isoformat())
    assert (status, LOST_STUBS in errors) == (1, True)
    status, said, errors = store.told("purge_interactions", "--now", LATER.isoformat())
    assert (status, LOST_STUBS in errors) == (1, True)
    assert json.loads(said)["cold"] == len(people["bob"])


# Beside runs that may not know of it.


@pytest.mark.every_backend
def test_a_hold_is_in_place_at_once_but_waits_for_a_run_that_began_earlier(
    held, store, storage, monkeypatch
):
    monkeypatch.setattr(legal_hold, "POLL_SECONDS", 0.01)
    assert storage.database.acquire_lock(LOCK, "a purge", 60)
    errors = held("add", "--user", "ada", "--reason", "case", "--max-seconds", "0.1", status=3)
    assert "Waiting for a run" in errors[0]
    assert [each.value for each in Holds.of(store.archive).all] == ["ada"]
    assert len(held("list")) == 1
    storage.database.release_lock(LOCK, "a purge")
    assert held("add", "--user", "ada", "--reason", "case") == []


def test_it_ends_as_soon_as_that_run_has_ended(held, storage, monkeypatch):
    run = Run(storage)
    run.__enter__()
    monkeypatch.setattr(legal_hold.time, "sleep", lambda seconds: run.__exit__(None, None, None))
    (waiting,) = held("add", "--user", "ada", "--reason", "case")
    assert "Waiting for a run" in waiting


def test_lifting_waits_for_nobody(held, storage):
    held("add", "--user", "ada", "--reason", "case")
    assert storage.database.acquire_lock(LOCK, "a purge", 60)
    held("lift", "--user", "ada")
    assert held("list") == []
    storage.database.release_lock(LOCK, "a purge")


def test_an_archive_that_is_not_there_has_no_holds_to_list(held, store, storage):
    """Its disk is not mounted: to say that nothing is held would be wrong."""
    held("add", "--user", "ada", "--reason", "case")
    store.archive.files.delete("archive.json")
    assert "archive is not the one" in held("list", status=1)[-1]
