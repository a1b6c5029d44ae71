"""--max-seconds ends a long step, too. What was done is complete, and the next run goes on."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from chat.maintenance import archiving, runs
from chat.maintenance.erasure import erasing, ledger
from chat.maintenance.export import exporting
from storage import accounts
from storage.archive import rewriting, segments
from storage.archive.manifests import Manifest
from storage.dynamodb.database import DynamoDBDatabase
from tests.clocks import Clock
from tests.storage.archive.format_1 import EarlierArchive

pytestmark = pytest.mark.every_backend(exhaustive=True)

DAY = timedelta(days=1)
LIMIT = ("--max-seconds", "10")


@pytest.fixture
def clock(monkeypatch):
    """The clock of runs, which every read of the archive and of a page takes two seconds of."""
    clock = Clock()
    monkeypatch.setattr(runs, "time", clock)
    monkeypatch.setattr(runs, "KEEPER_SECONDS", 3600)
    return clock


def slow(monkeypatch, clock, owner, name):
    function = getattr(owner, name)

    def call(*args, **kwargs):
        clock.passes(2)
        return function(*args, **kwargs)

    monkeypatch.setattr(owner, name, call)


@pytest.fixture
def archived(store, monkeypatch):
    """60 interactions of two days in the archive, in one segment each."""
    monkeypatch.setattr(segments, "FRAME_BYTES", 600)  # two rows
    now = datetime.now(UTC)
    start = now.replace(hour=0) - 60 * DAY
    ids = store.fill(*(start + n // 30 * DAY + n * timedelta(minutes=1) for n in range(60)))
    store.run("archive_interactions", now=now)
    return ids


@pytest.fixture
def seconds(clock):
    """How long a command has taken, by that clock."""
    before = clock.steady
    return lambda: clock.steady - before


@pytest.mark.every_backend
def test_an_archive_run_that_reads_slowly(store, clock, seconds, monkeypatch):
    start = datetime.now(UTC).replace(hour=12) - 40 * DAY  # one day, one batch
    store.fill(*(start + n * timedelta(seconds=1) for n in range(80)))
    monkeypatch.setattr(archiving, "PAGE", 10)
    slow(monkeypatch, clock, store.storage.database, "oldest")
    summary = store.run("archive_interactions", *LIMIT, now=datetime.now(UTC), status=3)
    assert (summary["archived"], seconds() <= 12) == (0, True)
    assert len(store.hot()) == 80


@pytest.mark.every_backend
def test_a_segment_that_is_rewritten_slowly(store, archived, clock, seconds, monkeypatch):
    monkeypatch.setattr(rewriting, "ROWS_AT_ONCE", 2)
    assert store.storage.delete_interaction_sync(archived[0])
    with monkeypatch.context() as patch:
        slow(patch, clock, store.storage.database, "stubs")
        store.run("archive_interactions", *LIMIT, now=datetime.now(UTC), status=3)
    assert seconds() <= 12
    store.check_readable(archived[1:])
    assert store.run("archive_interactions", now=datetime.now(UTC))["finished"] == 1


def test_a_status_of_many_segments(store, clock, seconds, monkeypatch):
    store.fill(*(datetime.now(UTC) - (40 + n) * DAY for n in range(9)))
    store.run("archive_interactions", now=datetime.now(UTC))
    slow(monkeypatch, clock, store.archive, "listed")
    before = clock.steady
    store.run("storage_status", *LIMIT, now=datetime.now(UTC), status=3)
    assert clock.steady - before <= 12


def test_erasures_that_do_not_fit_into_a_run_together_are_done_in_several(
    store, clock, monkeypatch
):
    monkeypatch.setattr(DynamoDBDatabase, "index_lag_seconds", 0)
    monkeypatch.setattr(erasing, "USERS_AT_ONCE", 8)
    for number in range(8):
        ledger.request(store.archive, f"user-{number}")
    slow(monkeypatch, clock, accounts, "forget_user")
    status, runs = 3, 0
    while status == 3 and runs < 20:
        status, _, _ = store.told("erase_user", "--pending", *LIMIT)
        runs += 1
    assert status == 0
    assert ledger.pending_ids(store.archive) == []


def test_an_erasure_that_searches_a_large_cache(store, clock, seconds, monkeypatch):
    store.fill(datetime.now(UTC))

    def searched(cache, user_id, check_time):
        for _ in range(50):
            clock.passes(2)
            check_time()

    with monkeypatch.context() as patch:
        patch.setattr(type(store.storage.cache), "erase_user", searched)
        store.run("erase_user", "ada", *LIMIT, now=datetime.now(UTC), status=3)
    assert seconds() <= 12
    assert store.run("erase_user", "--pending", now=datetime.now(UTC))["remaining"] == 0


@pytest.mark.parametrize("of_others", [False, True], ids=["own rows", "rows of others"])
def test_an_export_goes_on_where_it_was_stopped(
    store, archived, clock, monkeypatch, tmp_path, of_others
):
    """Each run takes a little, less than a frame has room for; all runs together all of it."""
    user = "bob" if of_others else "ada"
    if of_others:  # which no reading of the present format passes by
        earlier = EarlierArchive(store.archive.files.backend)
        for segment in store.segments():
            earlier.write(segment, list(store.archive.rows(segment)))
    monkeypatch.setattr(exporting, "MARK_ROWS", 5)
    whole, output = tmp_path / "whole", tmp_path / "export"
    assert store.told("export_user", user, f"--output={whole}")[0] == 0
    newest = store.archive.newest

    def slowly(*args):
        for row in newest(*args):
            clock.passes(2)
            yield row

    monkeypatch.setattr(store.archive, "newest", slowly)
    # Which segments have rows of whom is not told by their manifests.
    monkeypatch.setattr(exporting.Holds, "holds", lambda *_: False)
    monkeypatch.setattr(Manifest, "holders", lambda _, sought: dict.fromkeys(sought.user_ids))
    taken, status, stops = [], 3, 0
    while status == 3:
        before = clock.steady
        status, said, errors = store.told("export_user", user, f"--output={output}", *LIMIT)
        assert errors == ""
        taken.append(clock.steady - before)
        stops += 1
        assert stops < 40
    assert (status, json.loads(said)["exported"]) == (0, 0 if of_others else 60)
    assert stops > 5
    assert max(taken[:-1]) <= 22, "but for the last look at what has moved meanwhile"
    for name in ("interactions.jsonl.zst",):
        assert (output / name).read_bytes() == (whole / name).read_bytes()
