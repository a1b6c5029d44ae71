"""`migrate_storage`: all interactions to the other backend, while users write to the first one."""

import contextlib
import json
import os
import random
from datetime import UTC, datetime, timedelta

import pytest
from django.core.cache.backends.dummy import DummyCache

from chat.maintenance import archiving, holds, restoring
from chat.maintenance.erasure import ledger
from chat.maintenance.identity import ArchiveMismatch
from chat.maintenance.migration import comparing, copying, handing_over
from chat.maintenance.policy import Policy
from chat.maintenance.runs import LOCK, Run
from chat.management.commands import migrate_storage
from storage.archive.archive import Archive
from storage.archive.folder import ArchiveFolder
from storage.dynamodb import table
from storage.dynamodb.configured import configured_client
from storage.dynamodb.database import DynamoDBDatabase
from storage.interface import Storage
from storage.large.objects import LargeObjects
from storage.large.texts import LargeTexts
from storage.models import ArchivedInteraction, ChatInteraction
from storage.records import texts
from storage.records.json import from_json, from_record, to_json
from storage.records.questions import Question
from storage.startup.selection import is_configured_archive
from tests import clouds
from tests.buckets import make_bucket
from tests.chat.commands.test_round_trip import odd_records
from tests.chat.lines import command
from tests.conftest import use_archive

DAY = datetime(2026, 10, 3, tzinfo=UTC)
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
THERE = ("local", "cloud")
BACK = ("cloud", "local")


def nothing():
    pass


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch):
    monkeypatch.setattr(DynamoDBDatabase, "index_lag_seconds", 0)


@pytest.fixture
def archive(tmp_path):
    return Archive(ArchiveFolder(tmp_path / "archive"))


@pytest.fixture
def both(storage, dynamodb_model, archive, monkeypatch):
    """Both storages by name, as the command finds them, over one archive."""
    cloud = clouds.make_storage(dynamodb_model, DummyCache("", {}), archive)
    monkeypatch.setattr(storage, "archive", archive)
    monkeypatch.setattr(storage.database.large, "objects", LargeTexts(archive.files))
    found = {"local": storage, "cloud": cloud}

    def named(name, archive=None):
        if archive is None:
            return found[name]
        database, cache = found[name].database, found[name].cache
        database.large.objects = LargeTexts(archive.files)
        return Storage(database, cache, archive)

    monkeypatch.setattr(migrate_storage, "storage_named", named)
    return found


# The command names no backend, so one way is enough beside `test_the_way_back_of_a_move`.
@pytest.fixture(
    params=[
        pytest.param(THERE, id="local to cloud"),
        pytest.param(BACK, id="cloud to local", marks=pytest.mark.exhaustive),
    ]
)
def way(request):
    return request.param


@pytest.fixture
def source(both, way):
    return both[way[0]]


@pytest.fixture
def target(both, way):
    return both[way[1]]


@pytest.fixture
def migrate(way):
    """Runs the command; gives its exit status, its summary and what it says of errors."""

    def migrate(*options, way=way):
        status, said, errors = command(
            "migrate_storage", "--from", way[0], "--to", way[1], *options
        )
        return status, json.loads(said) if said else None, errors

    return migrate


@pytest.fixture
def small_pages(monkeypatch):
    def small_pages(rows):
        monkeypatch.setattr(comparing, "PAGE", rows)
        monkeypatch.setattr(comparing, "LARGEST_PAGE", rows)

    return small_pages


def put(storage, *interactions):
    storage.create_interactions_sync(list(interactions))


@pytest.fixture
def large_rows(monkeypatch, source, make_interaction):
    """Four hot rows, two of them with large texts; their objects."""
    monkeypatch.setattr(texts, "INLINE_MAX_BYTES", 100)
    rows = [
        make_interaction(interaction_id=f"{number}", response="r" * (1 + 200 * (number % 2)))
        for number in range(4)
    ]
    put(source, *rows)
    return objects_in(source.archive)


def objects_in(archive):
    return [entry.name for entry in LargeObjects(archive.files).listed()]


def test_large_texts_are_copied_and_nobody_deletes_them(source, target, migrate, large_rows):
    """Both databases have objects in the archive, so none is taken for a leftover meanwhile."""
    assert len(large_rows) == 2
    status, summary, _ = migrate()
    assert (status, summary["copied"]) == (0, 4)
    check_same(source, target)
    assert len(objects_in(source.archive)) == 4
    assert handing_over.is_shared(source.archive)
    assert migrate("--overwrite", "--hand-over")[0] == 0
    assert not handing_over.is_shared(source.archive)


def test_the_archive_of_both_may_be_named(source, target, migrate, large_rows, settings, tmp_path):
    """As if it were the source's own. Else each database would delete the other's large texts."""
    settings.STORAGES = {
        "archive": {
            "BACKEND": "storage.archive.folder.ArchiveFolder",
            "OPTIONS": {"location": tmp_path / "archive"},
        }
    }
    (tmp_path / "link").symlink_to(tmp_path / "archive")
    assert migrate("--from-archive", tmp_path / "link")[0] == 0
    check_same(source, target)
    assert handing_over.is_shared(source.archive)


@pytest.mark.parametrize(
    ("place", "is_it"), [("s3://one/", True), ("s3://other", False), ("one", False)]
)
def test_the_bucket_of_the_settings_is_known_by_its_name(settings, place, is_it):
    options = {"bucket_name": "one", "region_name": None, "endpoint_url": None}
    settings.STORAGES = {
        "archive": {"BACKEND": "storage.archive.bucket.ArchiveBucket", "OPTIONS": options}
    }
    assert is_configured_archive(place) is is_it


def test_large_texts_are_copied_to_an_archive_of_the_targets_own(
    source, target, migrate, large_rows, monkeypatch, tmp_path
):
    own = Archive(ArchiveFolder(tmp_path / "own"))
    monkeypatch.setattr(target, "archive", own)
    monkeypatch.setattr(target.database.large, "objects", LargeTexts(own.files))
    assert migrate("--from-archive", tmp_path / "archive")[0] == 0
    check_same(source, target)
    assert len(objects_in(own)) == 2
    assert not handing_over.is_shared(own)
    assert objects_in(source.archive) == large_rows


def test_ids_that_could_not_be_saved_any_more_are_copied(source, target, migrate, make_interaction):
    source.copy_interactions([make_interaction(interaction_id="..", user_id="ada/../bobby")])
    assert migrate()[0] == 0
    assert target.get_interaction_sync("..").user_id == "ada/../bobby"


def hot(storage):
    return [
        row.json
        for row in comparing.hot_rows(storage, comparing.LATEST.min.replace(tzinfo=UTC), nothing)
    ]


def cold(storage):
    rows = comparing.cold_rows(storage, comparing.LATEST.min.replace(tzinfo=UTC), nothing)
    return [(row.segment, row.json) for row in rows]


def check_same(source, target):
    """By everything that can be asked, field by field."""
    assert hot(source) == hot(target)
    assert cold(source) == cold(target)
    assert set(source.database.all_stubs()) == set(target.database.all_stubs())
    for text in hot(source):
        original = from_json(text)
        found = target.get_interaction_sync(original.interaction_id)
        for name in ("created_at", "updated_at", "message", "response", "user_id", "model_used"):
            assert getattr(found, name) == getattr(original, name)


def archive_day(storage, until, batch_size=3):
    """Archive what was created up to a time."""
    with Run(storage, now=until + timedelta(days=30), batch_size=batch_size) as run:
        policy = Policy(run.now, hot_days=30, total_days=100_000)
        archiving.archive(storage, policy, run, archiving.Archived())


def restore_day(storage, day):
    with Run(storage) as run:
        policy = Policy(NOW, hot_days=30, total_days=100_000)
        restoring.restore(storage, day, policy, run, restoring.Restored())


@pytest.fixture
def make_rows(make_interaction):
    def make_rows(count, first=0, **fields):
        return [
            make_interaction(
                interaction_id=f"i-{number:05}",
                user_id=("ada", "bob")[number % 2],
                **{
                    "created_at": DAY + timedelta(hours=number, microseconds=number),
                    "updated_at": DAY + timedelta(days=20, microseconds=999_999 - number),
                    "message": f"question {number}",
                }
                | fields,
            )
            for number in range(first, first + count)
        ]

    return make_rows


# What is copied.


def test_everything_comes_over_as_it_was(migrate, source, target, make_rows):
    put(source, *make_rows(60))
    status, summary, errors = migrate("--batch-size", "7")
    assert (status, errors) == (0, "")
    check_same(source, target)
    assert summary["copied"] == summary["rows"] == 60
    assert summary["days"] == 3
    assert summary["passes"] == 2
    assert len(summary["sha256"]) == 64
    assert (summary["differing"], summary["remaining"]) == ([], 0)


def test_odd_text_comes_over(migrate, source, target):
    given = [from_record(each) for each in odd_records(150)]
    put(source, *given)
    assert migrate()[0] == 0
    check_same(source, target)
    assert sorted(hot(target)) == sorted(map(to_json, given))


def test_ids_that_backends_sort_differently(migrate, source, target, make_interaction):
    """DynamoDB sorts ids of 255 characters of four bytes by their hash, if they begin alike."""
    chance = random.Random(5)
    alike = "\U0001f600" * 240
    ids = [alike + chr(0x1F600 + number) * 15 for number in range(20)]
    ids += [alike[: 225 + number] for number in range(15)]
    ids += [alike[:229] + chr(chance.randrange(0x10000, 0x10FFFF)) + "x" * 25 for _ in range(9)]
    put(source, *(make_interaction(interaction_id=each, created_at=DAY) for each in ids))
    raw = [each.interaction_id for each in source.oldest(comparing.LATEST, 100)]
    assert (raw == sorted(raw)) is (source is not None and not hasattr(source.database, "client"))
    status, summary, _ = migrate()
    assert (status, summary["copied"], summary["passes"]) == (0, len(ids), 2)
    check_same(source, target)


def test_equal_times(migrate, source, target, make_rows, small_pages):
    small_pages(7)
    rows = make_rows(40, created_at=DAY)
    put(source, *rows)
    put(target)
    status, summary, _ = migrate("--batch-size", "6")
    assert (status, summary["copied"], summary["passes"]) == (0, 40, 2)
    check_same(source, target)


def test_the_largest_interactions(migrate, source, target, make_rows):
    half = 195_000  # in objects
    put(source, *make_rows(3, message="\x01" * half, response="😀" * (half // 4)))
    put(source, *make_rows(30, first=3, response="x" * 389_980))
    assert migrate()[0] == 0
    check_same(source, target)


def test_what_is_archived_comes_over_as_archived(migrate, source, target, make_rows):
    put(source, *make_rows(50))
    archive_day(source, DAY + timedelta(hours=30))
    status, summary, errors = migrate("--batch-size", "4")
    assert (status, errors) == (0, "")
    assert (summary["rows"], summary["copied"], summary["archived"]) == (50, 50, 30)
    check_same(source, target)
    assert len(cold(target)) == 30
    assert json.loads(target.get_json_sync("i-00003"))["tier"] == "archive"


def test_what_has_expired_stays_behind(migrate, source, target, make_rows, settings):
    put(source, *make_rows(50))
    archive_day(source, DAY + timedelta(hours=9))
    settings.RETENTION_TOTAL_DAYS = (datetime.now(UTC) - DAY).days - 1
    expected = 50 - (datetime.now(UTC) - DAY - timedelta(days=settings.RETENTION_TOTAL_DAYS)) // (
        timedelta(hours=1)
    )
    status, summary, _ = migrate()
    assert status == 0
    assert summary["rows"] in (expected, expected - 1)
    assert 0 < summary["expired"] < 50
    assert next(target.database.all_stubs(), None) is None


def test_what_will_have_expired_is_copied(migrate, source, target, make_rows, settings):
    """The copy is for readers, who go by the clock: a later --now would leave rows behind."""
    settings.RETENTION_TOTAL_DAYS = (datetime.now(UTC) - DAY).days + 10
    put(source, *make_rows(9))
    archive_day(source, DAY + timedelta(hours=4))
    later = datetime.now(UTC) + timedelta(days=20)
    status, summary, _ = migrate("--hand-over", "--now", later.isoformat())
    assert (status, summary["copied"], summary["expired"]) == (0, 9, 0)
    check_same(source, target)


# Another archive.


@pytest.fixture
def other_archive(target, tmp_path):
    use_archive(target, Archive(ArchiveFolder(tmp_path / "other")))
    return target.archive


@pytest.fixture
def bucket(target, s3_server):
    use_archive(target, Archive(make_bucket(s3_server.url)))
    return target.archive


def enter_erasure(archive, user_id):
    receipt = {"erased": {}, "finished_at": NOW.isoformat()}
    return ledger.finish(archive, ledger.request(archive, user_id), receipt)


@pytest.mark.parametrize("where", ["source", "target"])
def test_who_was_erased_is_not_copied(
    migrate, source, target, other_archive, tmp_path, make_interaction, where
):
    """As after a backup of the source was put back by hand: it has her, hot and cold."""
    times = (DAY, DAY + timedelta(seconds=1), NOW - timedelta(days=1), NOW + timedelta(days=1))
    put(
        source,
        *(
            make_interaction(interaction_id=f"{user}-{n}", user_id=user, created_at=at)
            for user in ("ada", "bob")
            for n, at in enumerate(times)
        ),
    )
    archive_day(source, DAY + timedelta(hours=30), batch_size=100)
    put(target, make_interaction(interaction_id="ada-2", user_id="ada", created_at=times[2]))
    enter_erasure(source.archive if where == "source" else other_archive, "ada")
    options = ("--from-archive", tmp_path / "archive", "--overwrite")
    assert migrate(*options, "--dry-run")[1]["erased"] == 3
    status, summary, errors = migrate(*options)
    assert (status, errors) == (0, "")
    assert (summary["erased"], summary["remaining"], summary["rows"]) == (3, 0, 5)
    kept = [from_json(row).interaction_id for row in hot(target)]
    kept += [from_json(row).interaction_id for _, row in cold(target)]
    assert sorted(kept) == ["ada-3", "bob-0", "bob-1", "bob-2", "bob-3"]
    rows = [row for each in other_archive.all_segments() for row in other_archive.rows(each)]
    assert {row.user_id for row in rows} == {"bob"}
    assert migrate(*options, "--even-if-erased")[1]["rows"] == 8


def test_who_is_held_is_copied_although_an_erasure_is_pending(
    migrate, source, target, make_interaction
):
    put(source, make_interaction(user_id="ada", created_at=NOW - timedelta(days=1)))
    ledger.request(source.archive, "ada")
    holds.put(source.archive, holds.Hold("user", "ada", "a court", NOW))
    status, summary, errors = migrate()
    assert (status, errors) == (0, "")
    assert (summary["erased"], summary["rows"]) == (0, 1)
    check_same(source, target)


def test_an_archive_of_its_own_is_copied_too(migrate, source, target, bucket, tmp_path, make_rows):
    put(source, *make_rows(50))
    archive_day(source, DAY + timedelta(hours=30), batch_size=10)
    hold = holds.Hold("user", "ada", "a court", NOW)
    holds.put(source.archive, hold)
    done = enter_erasure(source.archive, "carl")
    pending = ledger.request(source.archive, "dora")
    assert source.delete_interaction_sync("i-00001")  # and its segment is marked
    status, summary, errors = migrate("--from-archive", tmp_path / "archive")
    assert (status, errors) == (0, "")
    assert summary["segments"] == sum(
        len(source.archive.segments(d)) for d in source.archive.days()
    )
    check_same(source, target)
    assert holds.Holds.of(bucket).all == [hold]
    assert ledger.find(bucket, done.erasure_id) == done
    assert list(ledger.pending(bucket)) == [pending]
    assert bucket.marked().keys() == source.archive.marked().keys() != set()
    # What has changed since is changed there.
    with contextlib.suppress(restoring.NothingArchived):
        restore_day(source, DAY.date())
    assert migrate("--from-archive", tmp_path / "archive", "--overwrite")[0] == 0
    check_same(source, target)
    assert bucket.days() == source.archive.days()


def test_what_was_handed_over_is_no_copy_any_more(
    migrate, source, target, other_archive, tmp_path, make_rows
):
    put(source, *make_rows(5))
    archive_day(source, DAY)
    options = ("--from-archive", tmp_path / "archive")
    assert migrate(*options, "--hand-over")[0] == 0
    status, _, errors = migrate(*options)
    assert (status, "not an unfinished copy" in errors) == (1, True)
    with Run(target):
        pass


def test_a_damaged_segment_is_not_copied(
    migrate, source, target, other_archive, tmp_path, make_rows
):
    put(source, *make_rows(3))
    archive_day(source, DAY + timedelta(hours=30))
    (file,) = (tmp_path / "archive").glob("*/*.zst")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    status, _, errors = migrate("--from-archive", tmp_path / "archive")
    assert status == 1
    assert file.name in errors
    assert other_archive.days() == []


def test_the_wrong_archive_is_noticed(migrate, source, target, other_archive, make_rows):
    put(source, *make_rows(5))
    archive_day(source, DAY + timedelta(hours=3))
    status, _, errors = migrate()
    assert status == 1
    assert "not the one that this database has used" in errors
    assert hot(target) == []


def test_an_archive_that_has_lost_segments_is_noticed(migrate, source, target, make_rows):
    put(source, *make_rows(5))
    archive_day(source, DAY + timedelta(hours=4))
    source.archive.remove(source.archive.segments(DAY.date())[0])
    status, _, errors = migrate()
    assert status == 1
    assert "3 archived interactions" in errors
    assert "--from-archive" in errors


# Writes to the source meanwhile, and later runs.


class Users:
    """They write to the source before the pages of it that are read; `times` of them."""

    def __init__(self, monkeypatch, storage, make_rows, times):
        self._storage = storage
        self._make_rows = make_rows
        self._left = times
        self._number = 1000
        self._oldest = storage.database.oldest
        monkeypatch.setattr(storage.database, "oldest", self.oldest)

    def oldest(self, *arguments):
        if self._left:
            self._left -= 1
            self.work()
        return self._oldest(*arguments)

    def work(self):
        self._number += 1
        chance = random.Random(self._number)
        rows = self._make_rows(1, first=self._number)
        rows[0].created_at = DAY + timedelta(hours=chance.randrange(60))
        put(self._storage, *rows)
        old = [f"i-{chance.randrange(60):05}" for _ in range(4)]
        self._storage.update_interaction_sync(old[0], {"response": f"answer {self._number}"})
        self._storage.delete_interaction_sync(old[1])
        if again := self._storage.get_interaction_sync(old[2]):
            # Deleted, and created again at another time.
            self._storage.delete_interaction_sync(old[2])
            again.created_at += timedelta(hours=chance.randrange(-9, 9), seconds=1)
            put(self._storage, again)


def test_writes_during_the_copy_are_caught_up(
    migrate, source, target, make_rows, small_pages, monkeypatch
):
    small_pages(10)
    put(source, *make_rows(60))
    Users(monkeypatch, source, make_rows, times=18)
    status, summary, errors = migrate("--batch-size", "4")
    assert (status, errors) == (0, "")
    assert 2 < summary["passes"] <= copying.PASSES
    assert summary["replaced"] > 0
    assert summary["deleted"] > 0
    check_same(source, target)


def test_writes_without_end_need_a_pause(migrate, source, target, make_rows, monkeypatch):
    put(source, *make_rows(60))
    users = Users(monkeypatch, source, make_rows, times=10**6)
    status, summary, errors = migrate()
    assert status == 1
    assert "pause of writes: stop the servers" in errors
    assert summary["passes"] == copying.PASSES
    assert summary["remaining"] > 0
    assert summary["differing"] != []
    users._left = 0
    status, summary, _ = migrate()
    assert (status, summary["passes"]) == (0, 2)
    check_same(source, target)


def test_what_the_sources_index_does_not_show_for_a_moment_is_not_deleted(
    migrate, source, target, make_rows, monkeypatch
):
    put(source, *make_rows(5))
    assert migrate()[0] == 0
    oldest, looks = type(source.database).oldest, []

    def lagging(storage, *arguments):
        looks.append(arguments)
        found = oldest(storage, *arguments)
        hidden = storage is not target.database and len(looks) < 8 and "i-00003"
        return [each for each in found if each.interaction_id != hidden]

    monkeypatch.setattr(type(source.database), "oldest", lagging)
    status, summary, _ = migrate("--overwrite")
    assert (status, summary["deleted"], summary["replaced"]) == (0, 0, 0)
    assert summary["passes"] > 1
    check_same(source, target)


def test_a_later_run_writes_what_has_changed_and_no_more(
    migrate, source, target, make_rows, monkeypatch
):
    put(source, *make_rows(60))
    archive_day(source, DAY + timedelta(hours=30))
    assert migrate()[0] == 0
    # Nothing: one pass, without a write.
    status, summary, _ = migrate("--overwrite")
    assert status == 0
    assert [summary[name] for name in ("copied", "replaced", "deleted", "passes")] == [0, 0, 0, 1]
    # What was cold is hot, what was hot is cold, and what was there is gone.
    restore_day(source, DAY.date())
    source.update_interaction_sync("i-00059", {"response": "changed"})
    archive_day(source, DAY + timedelta(hours=40))
    source.delete_interaction_sync("i-00058")
    source.delete_interaction_sync("i-00003")
    source.delete_interaction_sync("i-00035")
    archive_day(source, DAY + timedelta(hours=41))  # compacts what was marked
    put(source, *make_rows(3, first=60))
    status, summary, errors = migrate("--overwrite")
    assert (status, errors) == (0, "")
    check_same(source, target)


def test_a_stub_whose_segment_is_gone_goes_too(migrate, source, target, make_rows):
    put(source, *make_rows(1))
    archive_day(source, DAY)
    put(source, *make_rows(1, first=9))
    assert migrate()[0] == 0
    source.delete_interaction_sync("i-00000")
    archive_day(source, DAY)
    assert source.archive.days() == []
    assert migrate("--overwrite")[0] == 0
    assert target.get_interaction_sync("i-00000") is None
    check_same(source, target)


# What must not be overwritten.


def test_a_target_with_other_data_is_refused(migrate, source, target, make_rows):
    put(source, *make_rows(5))
    put(target, *make_rows(1, first=9))
    before = hot(target)
    status, _, errors = migrate()
    assert status == 1
    assert "has interactions, and is not an unfinished copy" in errors
    assert "--overwrite" in errors
    assert hot(target) == before
    status, summary, _ = migrate("--overwrite")
    assert (status, summary["deleted"]) == (0, 1)
    check_same(source, target)


def test_a_finished_copy_is_refused_unless_it_may_be_overwritten(
    migrate, source, target, make_rows
):
    """Nobody knows whether it has been used since."""
    put(source, *make_rows(5))
    assert migrate()[0] == 0
    source.update_interaction_sync("i-00003", {"response": "later"})
    put(source, *make_rows(1, first=9))
    before = hot(target)
    for options in ((), ("--dry-run",), ("--hand-over",)):
        status, _, errors = migrate(*options)
        assert (status, "--overwrite" in errors) == (1, True)
        assert hot(target) == before
    status, summary, _ = migrate("--overwrite")
    assert (status, summary["copied"], summary["replaced"]) == (0, 1, 1)
    check_same(source, target)


def test_an_archive_alone_is_other_data(migrate, source, target, make_rows):
    put(source, *make_rows(5, first=30))
    put(target, *make_rows(1))
    archive_day(target, DAY)
    assert migrate()[0] == 1
    assert len(cold(target)) == 1


def test_an_unfinished_copy_in_use_is_refused(migrate, source, target, make_rows, monkeypatch):
    put(source, *make_rows(5))
    users = Users(monkeypatch, source, make_rows, times=10**6)
    assert migrate()[0] == 1
    users._left = 0
    put(target, *make_rows(1, first=9, created_at=datetime.now(UTC) + timedelta(minutes=2)))
    before = hot(target)
    status, _, errors = migrate()
    assert status == 1
    assert "may be in use" in errors
    assert hot(target) == before


def test_what_was_copied_and_then_deleted_by_its_user_is_no_use_of_the_target(
    migrate, source, target, make_rows, monkeypatch
):
    put(source, *make_rows(5))
    users = Users(monkeypatch, source, make_rows, times=10**6)
    assert migrate()[0] == 1
    users._left = 0
    late = make_rows(1, first=9, created_at=datetime.now(UTC) + timedelta(seconds=30))
    put(target, *late)  # as the last pass might have copied it
    assert migrate()[0] == 0
    check_same(source, target)


def test_a_finished_copy_of_version_0_1_is_refused(migrate, way, source, target, make_rows):
    """Its mark was kept, with a digest of each day."""
    put(source, *make_rows(5))
    assert migrate()[0] == 0
    place = migrate_storage.place_named
    document = {
        "source": place(way[0]),
        "target": place(way[1]),
        "at": datetime.now(UTC).isoformat(),
        "days": {},
    }
    target.archive.files.write_document(f"copies/{way[1]}.json", document)
    status, _, errors = migrate()
    assert (status, "--overwrite" in errors) == (1, True)


def test_an_unfinished_copy_of_what_has_future_times_goes_on(
    migrate, source, target, make_rows, monkeypatch
):
    put(source, *make_rows(5, created_at=datetime.now(UTC) + timedelta(days=2)))
    users = Users(monkeypatch, source, make_rows, times=10**6)
    assert migrate()[0] == 1
    users._left = 0
    assert migrate()[0] == 0


def test_an_unfinished_copy_of_another_source_is_refused(
    migrate, source, target, make_rows, monkeypatch
):
    put(source, *make_rows(5))
    monkeypatch.setattr(copying, "PASSES", 1)
    assert migrate()[0] == 1
    monkeypatch.setattr(migrate_storage, "place_named", "another {}".format)
    status, _, errors = migrate()
    assert (status, "not an unfinished copy of another" in errors) == (1, True)


def test_an_empty_source_empties_no_unfinished_copy(
    migrate, source, target, make_rows, monkeypatch
):
    put(source, *make_rows(5))
    monkeypatch.setattr(copying, "PASSES", 1)
    assert migrate()[0] == 1
    for row in make_rows(5):
        source.delete_interaction_sync(row.interaction_id)
    status, _, errors = migrate()
    assert status == 1
    assert "has nothing" in errors
    assert len(hot(target)) == 5


def test_the_way_back_of_a_move(migrate, source, target, make_rows, way):
    """The old store is no copy of the new one: it takes a word to overwrite it."""
    put(source, *make_rows(9))
    archive_day(source, DAY + timedelta(hours=2))
    status, summary, _ = migrate("--hand-over")
    assert (status, summary["handed_over"]) == (0, True)
    target.update_interaction_sync("i-00003", {"response": "later"})
    archive_day(target, DAY + timedelta(hours=6))
    assert "not the one" in migrate()[2]  # what is old now is copied no more
    status, _, errors = migrate("--hand-over", way=way[::-1])
    assert (status, "not an unfinished copy" in errors) == (1, True)
    assert migrate("--overwrite", "--hand-over", way=way[::-1])[0] == 0
    check_same(source, target)
    archive_day(source, DAY + timedelta(hours=8))
    with pytest.raises(ArchiveMismatch):
        archive_day(target, DAY + timedelta(hours=8))
    assert source.get_interaction_sync("i-00003").response == "later"


# One archive, two databases.


def test_no_maintenance_works_on_a_copy_before_it_is_handed_over(
    migrate, source, target, make_rows
):
    """It would take what it has no stubs of for rows that are not the archive's any more."""
    put(source, *make_rows(9))
    archive_day(source, DAY + timedelta(hours=8))
    assert migrate("--max-seconds", "0.0001")[0] == 3
    before = cold(source)
    assert source.delete_interaction_sync("i-00001")  # marks a segment
    with pytest.raises(ArchiveMismatch):
        archive_day(target, DAY)
    assert cold(source) == [each for each in before if b"i-00001" not in each[1]]
    assert migrate()[0] == 0
    with pytest.raises(ArchiveMismatch):
        archive_day(target, DAY)
    archive_day(source, DAY)
    assert migrate("--overwrite", "--hand-over")[0] == 0
    archive_day(target, DAY)
    with pytest.raises(ArchiveMismatch):
        archive_day(source, DAY)


def test_a_refused_run_sets_nothing_apart(migrate, source, target, make_rows):
    put(source, *make_rows(5))
    put(target, *make_rows(1, first=9))
    assert migrate()[0] == 1
    with Run(target):
        pass


# The command.


def test_a_dry_run_changes_nothing(migrate, source, target, archive, make_rows):
    put(source, *make_rows(50))
    archive_day(source, DAY + timedelta(hours=30))
    files = sorted(archive.files.folders())
    status, summary, _ = migrate("--dry-run")
    assert (status, summary["remaining"], summary["copied"]) == (0, 50, 0)
    assert hot(target) == cold(target) == []
    assert sorted(archive.files.folders()) == files


def test_both_locks_are_held(migrate, both, source, make_rows, monkeypatch):
    put(source, *make_rows(5))
    seen = []

    def look(storage, interactions, original):
        seen.append([each.database.acquire_lock(LOCK, "another", 60) for each in both.values()])
        return original(storage, interactions)

    for storage in both.values():
        kind = type(storage.database)
        original = kind.create_many
        monkeypatch.setattr(
            kind, "create_many", lambda s, i, original=original: look(s, i, original)
        )
    assert migrate()[0] == 0
    assert seen == [[False, False]]
    assert all(each.database.acquire_lock(LOCK, "another", 60) for each in both.values())


@pytest.mark.parametrize("name", THERE)
def test_another_run_at_work_keeps_it_out(migrate, both, name):
    both[name].database.acquire_lock(LOCK, "another", 60)
    status, _, errors = migrate()
    assert status == 1
    assert "at work" in errors


def test_a_run_that_may_not_take_long_goes_on_later(migrate, source, target, make_rows):
    put(source, *make_rows(5))
    assert migrate("--max-seconds", "0")[0] == 3
    assert migrate()[0] == 0
    check_same(source, target)


def test_wrong_use(migrate, both, tmp_path):
    status, _, errors = migrate(way=("local", "local"))
    assert (status, "are the same" in errors) == (2, True)
    status, _, errors = migrate("--from-archive", tmp_path / "nowhere")
    assert (status, "not a folder" in errors) == (2, True)


def test_where_interactions_are_kept_out_of_sql_it_is_wrong_use(storage, settings):
    settings.ENVIRONMENT = "production"
    status, _, errors = command("migrate_storage", "--from", "local", "--to", "cloud")
    assert (status, "ENVIRONMENT unset" in errors) == (2, True)


@pytest.fixture
def as_configured(
    storage, archive, settings, dynamodb_server, valkey_server, tmp_path, monkeypatch
):
    """The settings name a table, a Redis and an archive; gives the storage of a server there."""
    monkeypatch.setattr(storage, "archive", archive)
    settings.STORAGES = settings.STORAGES | {
        "archive": {
            "BACKEND": "storage.archive.folder.ArchiveFolder",
            "OPTIONS": {"location": tmp_path / "archive"},
        }
    }
    settings.AWS_REGION = clouds.REGION
    settings.DYNAMODB_ENDPOINT_URL = dynamodb_server.url
    settings.DYNAMODB_TABLE = f"test-{tmp_path.name}-{os.getpid()}"
    settings.REDIS_URL = f"redis://127.0.0.1:{valkey_server.port}"
    client = configured_client()
    client.manage("CreateTable", TableName=client.table, **table.definition())
    cache = clouds.make_cache(settings.REDIS_URL)
    cache.clear()
    return clouds.storage_of(client, cache, archive)


def test_servers_see_what_a_later_run_has_changed(storage, as_configured, make_rows):
    """Redis has nothing older than what was copied."""
    options = ("migrate_storage", "--from", "local", "--to", "cloud")
    put(storage, *make_rows(5))
    assert command(*options)[0] == 0
    for number in range(5):
        assert as_configured.get_interaction_sync(f"i-0000{number}") is not None
    assert as_configured.find_answer_sync(Question("ada", "question 2")) is not None
    storage.update_interaction_sync("i-00002", {"response": "later"})
    storage.delete_interaction_sync("i-00003")
    archive_day(storage, DAY)
    assert command(*options, "--overwrite", "--hand-over")[0] == 0
    assert as_configured.get_interaction_sync("i-00002").response == "later"
    assert as_configured.find_answer_sync(Question("ada", "question 2")).response == "later"
    assert as_configured.get_interaction_sync("i-00003") is None
    assert json.loads(as_configured.get_json_sync("i-00000"))["tier"] == "archive"


def test_without_a_region_it_is_wrong_use(storage, settings):
    settings.AWS_REGION = ""
    status, _, errors = command("migrate_storage", "--from", "local", "--to", "cloud")
    assert status == 2
    assert "AWS_REGION" in errors


@pytest.mark.skipif(
    "INTERACTIONS_FILE" not in os.environ,
    reason="INTERACTIONS_FILE names no file of interactions to try this with",
)
def test_a_real_file_there_and_back(both, migrate, way):
    if way == BACK:
        pytest.skip("the other one goes both ways")
    local = both["local"]
    assert command("import_interactions", os.environ["INTERACTIONS_FILE"])[0] == 0
    middle = local.oldest(comparing.LATEST, 3000)[-1].created_at
    archive_day(local, middle, batch_size=700)
    status, there, _ = migrate("--hand-over")
    assert status == 0
    before = hot(local), cold(local)
    ChatInteraction.objects.all().delete()
    ArchivedInteraction.objects.all().delete()
    status, back, _ = migrate(way=BACK)
    assert status == 0
    print(there, back)
    assert (hot(local), cold(local)) == before
    assert there["sha256"] == back["sha256"]
