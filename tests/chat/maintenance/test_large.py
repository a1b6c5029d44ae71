"""Maintenance and large texts: nothing of them is lost, left behind, or in the way."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from chat.maintenance import holds, large, large_texts
from chat.maintenance.erasure import attempt, ledger, removal
from chat.maintenance.erasure.after_restore import bring_up_to_date
from chat.maintenance.export.folder import MANIFEST
from chat.maintenance.holds import Hold
from chat.maintenance.migration import handing_over
from chat.maintenance.policy import Policy
from chat.maintenance.put_back import put_back
from storage.backups.base import RestoredDatabase, RestoreReport
from storage.compat import zstd
from storage.dynamodb.database import DynamoDBDatabase
from storage.large.objects import LargeObjects
from storage.large.texts import LargeTexts
from storage.records import pages, texts
from tests.chat.maintenance.people import left_of
from tests.clocks import YESTERDAY, Clock

pytestmark = pytest.mark.every_backend(exhaustive=True)

NOW = YESTERDAY
DAY = timedelta(days=1)
LONG = "a large text " * 20


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    """Texts above 100 bytes are large, and no index lags."""
    monkeypatch.setattr(texts, "INLINE_MAX_BYTES", 100)
    monkeypatch.setattr(DynamoDBDatabase, "index_lag_seconds", 0)


@pytest.fixture
def stale(monkeypatch):
    """Two days pass for the objects that there are."""
    later = datetime.now(UTC) + 2 * DAY
    monkeypatch.setattr(LargeObjects, "now", lambda self: later)


def objects(store):
    return [entry.name for entry in LargeObjects(store.archive.files).listed()]


def object_of(store, interaction_id):
    return store.storage.database.text_objects([interaction_id])[interaction_id].name


def leave(store, user_id, interaction_id):
    """An object that no row names, as a write leaves it that was killed. Returns its name."""
    large = LargeTexts(store.archive.files)
    return large.write(user_id, interaction_id, "left", "behind").name


def purge(store, *arguments, status=0):
    return store.run("purge_interactions", *arguments, now=NOW, status=status)


# Leftovers.


@pytest.mark.every_backend
def test_an_object_that_no_row_names_goes_after_a_day(store, stale):
    ids = store.fill(NOW, NOW, response=LONG)
    named = objects(store)
    assert len(named) == 2
    leave(store, "ada", "of a row that never came")
    leave(store, "ada", ids[0])  # its row names another one
    assert purge(store, "--dry-run")["large_texts"] == 2
    assert len(objects(store)) == 4
    assert purge(store)["large_texts"] == 2
    assert objects(store) == named
    store.check_readable(ids)
    assert purge(store)["large_texts"] == 0


def test_one_whose_row_may_still_come_stays(store):
    name = leave(store, "ada", "a write under way")
    assert purge(store)["large_texts"] == 0
    assert objects(store) == [name]


@pytest.mark.every_backend
def test_the_object_of_what_has_expired_stays_until_its_row_goes(store, stale, settings):
    """DynamoDB's TTL, or a purge, deletes the row: before that a legal hold may still come."""
    store.fill(NOW - 89 * DAY, response=LONG)
    settings.RETENTION_TOTAL_DAYS = 30
    assert purge(store)["large_texts"] == 0
    assert len(objects(store)) == 1


def test_what_is_left_of_a_held_user_stays(store, stale):
    kept, gone = leave(store, "eve", "1"), leave(store, "ada", "1")
    holds.add(store.archive, Hold("user", "eve", "a case", NOW))
    assert purge(store)["large_texts"] == 1
    assert objects(store) == [kept] != [gone]


@pytest.mark.every_backend
def test_a_pass_goes_on_where_it_was_stopped(store, stale, monkeypatch):
    monkeypatch.setattr(large, "OBJECTS_AT_ONCE", 2)
    ids = store.fill(*[NOW] * 3, response=LONG)
    named = objects(store)
    left = [leave(store, f"user {number}", "1") for number in range(5)]
    deleted = []
    delete_all = LargeObjects.delete_all

    def killed_later(self, names):
        if deleted:
            raise SystemExit(9)
        deleted.extend(names)
        delete_all(self, names)

    with monkeypatch.context() as patch:
        patch.setattr(LargeObjects, "delete_all", killed_later)
        store.told("purge_interactions", "--now", NOW.isoformat())
    assert 0 < len(deleted) < len(left)
    listed = []
    entries = LargeObjects.entries

    def seen(self, after=""):
        listed.append(after)
        return entries(self, after)

    monkeypatch.setattr(LargeObjects, "entries", seen)
    assert purge(store)["large_texts"] == len(left) - len(deleted)
    assert listed == [max(deleted[-1], listed[0])], "it begins behind what was deleted"
    assert objects(store) == named
    store.check_readable(ids)
    assert purge(store)["large_texts"] == 0
    assert listed[-1] == "", "the next one begins at the beginning"


def test_nothing_is_deleted_while_two_databases_use_the_archive(store, stale):
    name = leave(store, "ada", "of the other database")
    store.archive.files.write_document(handing_over.SHARED, {})
    summary = purge(store)
    assert (summary["large_texts"], summary["archive_is_shared"]) == (0, True)
    assert objects(store) == [name]
    store.archive.files.delete(handing_over.SHARED)
    assert purge(store)["large_texts"] == 1


def test_an_object_that_tells_no_row_is_named_and_stays(store, stale):
    damaged, gone = leave(store, "ada", "1"), leave(store, "bob", "1")
    store.archive.files.write(damaged, b"no object")
    status, _, errors = store.told("purge_interactions", "--now", NOW.isoformat())
    assert (status, objects(store)) == (1, [damaged])
    assert f"{damaged} in the archive is damaged" in errors
    assert gone not in errors


@pytest.mark.every_backend
def test_purged_rows_take_their_objects_along(store):
    ids = store.fill(NOW - 91 * DAY, NOW, response=LONG)
    assert purge(store)["hot"] == 1
    assert objects(store) == [object_of(store, ids[1])]


# Archiving.


@pytest.mark.every_backend
def test_rows_are_archived_with_their_texts_and_come_back_with_objects(store):
    ids = store.fill(*[NOW - 40 * DAY] * 3, NOW, response=LONG)
    assert store.run("archive_interactions", now=NOW)["archived"] == 3
    assert store.cold() == ids[:3]
    store.check_readable(ids)
    assert objects(store) == [object_of(store, ids[3])]
    day = (NOW - 40 * DAY).date()
    assert store.run("restore_archive", str(day), now=NOW)["restored"] == 3
    assert len(objects(store)) == 4
    assert store.cold() == []
    store.check_readable(ids)


def test_few_large_texts_are_in_memory_at_once(store, monkeypatch):
    monkeypatch.setattr(large_texts, "MEMORY", 3 * len(LONG))
    store.fill(*[NOW - 40 * DAY] * 10, response=LONG)
    fetched = []
    read_each = LargeTexts.read_each

    def counted(self, wanted):
        found = read_each(self, list(wanted))
        fetched.append(len(found))
        return found

    monkeypatch.setattr(LargeTexts, "read_each", counted)
    assert store.run("archive_interactions", now=NOW)["archived"] == 10
    assert max(fetched) == 3


def test_a_damaged_object_keeps_no_other_row_from_being_archived(store):
    ids = store.fill(*[NOW - 40 * DAY] * 4, response=LONG)
    gone, damaged = object_of(store, ids[1]), object_of(store, ids[2])
    store.archive.files.delete(gone)
    store.archive.files.write(damaged, b"no object")
    status, _, errors = store.told("archive_interactions", "--now", NOW.isoformat())
    assert status == 1
    assert gone in errors
    assert damaged in errors
    assert store.cold() == [ids[0], ids[3]]
    store.check_readable([ids[0], ids[3]])


# Erasing.


def erase(store, status=0):
    return store.run("erase_user", "ada", now=NOW, status=status)


@pytest.mark.every_backend
def test_an_erasure_takes_the_objects_along_and_counts_them(store):
    store.fill(NOW, NOW, response=LONG)
    others = store.fill(NOW, user_id="bob", response=LONG)
    (erasure,) = erase(store)["erasures"]
    assert erasure["receipt"]["erased"] == {"hot": 2, "large_texts": 2}
    assert left_of(store, "ada") == []
    assert objects(store) == [object_of(store, others[0])]
    store.check_readable(others)


def test_objects_of_several_users_are_deleted_folder_by_folder(store, monkeypatch):
    """A bucket with versions lists all whose names begin as those of one deletion do."""
    for user_id in ("ada", "bob"):
        ledger.request(store.archive, user_id)
        leave(store, user_id, "first")
        leave(store, user_id, "second")
    deleted = []
    delete_all = LargeObjects.delete_all

    def noted(self, names):
        deleted.append({name.rpartition("/")[0] for name in names})
        delete_all(self, names)

    monkeypatch.setattr(LargeObjects, "delete_all", noted)
    monkeypatch.setattr(removal, "WRITE_SECONDS", 0)
    store.run("erase_user", "--pending", now=NOW)
    assert objects(store) == []
    assert {len(folders) for folders in deleted} == {1}


def test_no_damage_keeps_a_user_from_being_erased(store):
    (interaction_id,) = store.fill(NOW, response=LONG)
    store.archive.files.write(object_of(store, interaction_id), b"no object")
    erase(store)
    assert objects(store) == []


def test_what_no_row_names_goes_too_whatever_the_key(store, settings, monkeypatch):
    store.fill(NOW)
    leave(store, "ada", "1")
    settings.SECRET_KEY_FALLBACKS = []
    settings.SECRET_KEY = "a key without fallbacks, so that the first is forgotten"
    leave(store, "ada", "2")
    lasting = leave(store, "bob", "1")
    monkeypatch.setattr(removal, "WRITE_SECONDS", 0)
    (erasure,) = erase(store)["erasures"]
    assert erasure["receipt"]["erased"] == {"hot": 1, "large_texts": 2}
    assert objects(store) == [lasting]


class LateClock(Clock):
    """Whose time passes by sleeping; what happens after some seconds is done then."""

    def __init__(self, at, do):
        super().__init__()
        self._at, self._do = self.steady + at, do

    def sleep(self, seconds):
        super().sleep(seconds)
        if self._do and self.monotonic() >= self._at:
            do, self._do = self._do, None
            do()


@pytest.mark.every_backend
def test_a_write_that_an_erasure_crosses_leaves_no_row_and_no_object(store, monkeypatch):
    """Its object is deleted before its row is there, which names nothing then."""
    store.fill(NOW)
    late = store._make(interaction_id="late", user_id="ada", message="m", response=LONG)
    written = LargeTexts(store.archive.files).write("ada", "late", "", LONG)

    def commit():
        with monkeypatch.context() as patch:
            patch.setattr(LargeTexts, "write", lambda *args: written)
            store.storage.database.save(late)

    clock = LateClock(removal.WRITE_SECONDS - 5, commit)
    monkeypatch.setattr(attempt, "time", clock)
    monkeypatch.setattr(removal, "time", clock)
    (erasure,) = erase(store)["erasures"]
    assert left_of(store, "ada") == []
    assert objects(store) == []
    assert erasure["receipt"]["erased"]["hot"] == 2


# Restoring.


@pytest.mark.every_backend
def test_what_a_restored_copy_names_is_put_back_or_left_out(store):
    ids = store.fill(*[NOW] * 3, response=LONG)
    files = store.archive.files
    kept, lost = object_of(store, ids[1]), object_of(store, ids[2])
    copy = files.read(kept)
    files.delete(kept)
    files.delete(lost)

    def contents(wanted):
        return copy if wanted.name == kept else None

    restored = RestoredDatabase(store.storage, None, store.archive, large_texts=contents)
    report = RestoreReport()
    put_back(restored, report)
    assert (report.large_texts, report.large_texts_lost) == (1, 1)
    assert store.hot() == ids[:2]
    store.check_readable(ids[:2])
    assert len(objects(store)) == 2


@pytest.mark.every_backend
def test_what_was_archived_since_is_not_lost_with_its_object(store):
    """The copy has the row in the database, and the archive has it with its texts by now."""
    (row_id,) = store.fill(NOW - 40 * DAY, response=LONG)
    segment = store.archive.new_segment((NOW - 40 * DAY).date())
    store.archive.write(segment, [store.storage.get_interaction_sync(row_id)])
    store.archive.files.delete(object_of(store, row_id))
    report = RestoreReport()
    restored = RestoredDatabase(store.storage, None, store.archive)
    bring_up_to_date(restored, Policy(NOW, 30, 90), report)
    assert report.large_texts_lost == 0
    store.run("archive_interactions", now=NOW)  # completes what is marked
    assert store.cold() == [row_id]
    store.check_readable([row_id])


def test_what_has_come_since_the_objects_were_listed_is_not_left_out(store, monkeypatch):
    monkeypatch.setattr(LargeObjects, "listed", lambda objects: iter(()))
    ids = store.fill(NOW, response=LONG)
    report = RestoreReport()
    put_back(RestoredDatabase(store.storage, None, store.archive), report)
    assert (report.large_texts_lost, store.hot()) == (0, ids)


# Looking.


def test_status_counts_objects_by_listing(store):
    store.fill(NOW, NOW, response=LONG)
    summary = store.run("storage_status", now=NOW)
    sizes = [entry.bytes for entry in LargeObjects(store.archive.files).listed()]
    assert (summary["large_texts"], summary["large_texts_bytes"]) == (2, sum(sizes))


def verify(store, *arguments, status=0):
    return store.run("verify_archive", *arguments, now=NOW, status=status)


def test_verification_reads_every_object_and_names_the_damaged(store):
    ids = store.fill(*[NOW] * 6, response=LONG)
    assert verify(store, "--stubs")["large_texts"] == 6
    damaged, gone = object_of(store, ids[1]), object_of(store, ids[2])
    content = store.archive.files.read(damaged)
    store.archive.files.write(damaged, content[:-9])
    assert verify(store, status=1)["damaged"] == [damaged]
    store.archive.files.delete(gone)
    assert verify(store, "--stubs", status=1)["damaged"] == sorted([damaged, gone])
    store.archive.files.write(damaged, content)
    leave(store, "ada", "of no row")
    assert verify(store)["damaged"] == []


def test_a_verification_goes_on_behind_the_objects_it_has_read(store, monkeypatch):
    store.fill(*[NOW] * 9, response=LONG)
    read = []
    heads = LargeObjects.heads

    def counted(self, names):
        if len(read) == 4:
            raise SystemExit(9)
        read.extend(names)
        return heads(self, names)

    with monkeypatch.context() as patch:
        patch.setattr(LargeObjects, "heads", counted)
        store.told("verify_archive", "--now", NOW.isoformat())
    assert verify(store)["large_texts"] == 5


# Exporting.


@pytest.mark.every_backend
def test_an_export_has_large_texts_in_pages_that_end_early(store, tmp_path, monkeypatch):
    monkeypatch.setattr(pages, "PAGE_TEXT", 3 * len(LONG))
    ids = store.fill(*[NOW] * 8, response=LONG)
    folder = tmp_path / "export"
    status, _, errors = store.told("export_user", "ada", "--output", folder)
    assert status == 0, errors
    (file,) = folder.glob("*.zst")
    lines = zstd.decompress(file.read_bytes())
    assert lines.count(LONG.encode()) == len(ids)


@pytest.mark.parametrize("is_there", [True, False], ids=["damaged", "missing"])
def test_exports_go_on_past_an_object_that_cannot_be_read(store, tmp_path, is_there):
    ids = store.fill(*(NOW - n * DAY for n in range(3)), response=LONG)
    name = object_of(store, ids[1])
    content = store.archive.files.read(name)
    store.archive.files.delete(name)
    if is_there:
        store.archive.files.write(name, b"damaged")
    lines, folder = tmp_path / "all.jsonl", tmp_path / "export"
    status, _, errors = store.told("export_interactions", lines)
    assert (status, name in errors, "2 exported" in errors) == (1, True, True), errors
    exported = [json.loads(line) for line in lines.read_text().splitlines()]
    assert [each["interaction_id"] for each in exported] == [ids[0], ids[2]]
    for dry in (["--dry-run"], ["--max-seconds", "0"], []):
        status, said, errors = store.told("export_user", "ada", f"--output={folder}", *dry)
    assert (status, name in errors, json.loads(said)["exported"]) == (1, True, 2)
    assert json.loads((folder / MANIFEST).read_text())["content"]["damaged"] == [name]
    assert store.told("export_user", f"--verify={folder}")[0] == 0
    store.archive.files.write(name, content)
    assert store.told("export_user", "ada", f"--output={folder}", "--force")[0] == 0
    assert "damaged" not in json.loads((folder / MANIFEST).read_text())["content"]
