"""Stubs are corrected as if all of the archive was read, whatever has changed since the backup."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.db import connection, transaction

from chat.maintenance import holds
from chat.maintenance.erasure import ledger
from chat.maintenance.erasure.after_restore import bring_up_to_date
from chat.maintenance.holds import Hold
from chat.maintenance.policy import Policy
from storage import accounts
from storage.accounts import roll_ups
from storage.archive import generations
from storage.archive.archive import Archive
from storage.archive.files import Unchanging
from storage.backups.base import RestoredDatabase
from storage.dynamodb.client import Client
from storage.exceptions import StorageUnavailable
from storage.models import ApiKey, ArchivedInteraction, ChatInteraction, Lock, UsageOfUser
from storage.models.idempotency import Idempotency
from storage.sqlite.checkpoints import is_emptied
from storage.sqlite.file_format import Layout
from storage.sqlite.statements import Statements
from tests import switches

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
DAY = timedelta(days=1)
POLICY = Policy(NOW, 30, 90)
MARKER = b"left of an API key"
MODELS = (ChatInteraction, ArchivedInteraction, Lock)
EVERY = 1 if switches.value("LIFECYCLE_KILLS") == "all" else 4
CHANGES = {
    Archive: ("mark", "unmark", "write", "remove"),
    "database": ("move_to_cold", "return_from_cold", "drop_stubs", "remove_of_user"),
}


class Moments:
    """What a backup would have, before and after each step of what is done to a store."""

    def __init__(self, store, monkeypatch):
        self.store = store
        self.all = []
        for owner, names in CHANGES.items():
            owner = store.storage.database if owner == "database" else store.archive
            for name in names:
                monkeypatch.setattr(owner, name, self._noting(getattr(owner, name)))

    def _noting(self, function):
        def call(*args, **options):
            self.note()
            found = function(*args, **options)
            self.note()
            return found

        return call

    def note(self):
        tables = {model: list(model.objects.values()) for model in MODELS}
        moment = tables, generations.complete(self.store.archive)
        if moment not in self.all:
            self.all.append(moment)


def restored(store, tables, segments):
    """The stubs and the marks after a restore of these tables, which changes nothing."""
    archive, marked = (
        Archive(Unchanging(store.archive.files.backend, store.archive.files.backend)),
        set(),
    )
    archive.mark = marked.add
    storage = type(store.storage)(store.storage.database, store.storage.cache, archive)
    with transaction.atomic():
        for model in tables:
            model.objects.all().delete()
        for model, rows in tables.items():
            model.objects.bulk_create(model(**row) for row in rows)
        bring_up_to_date(RestoredDatabase(storage, None, archive, segments), POLICY)
        found = set(storage.database.all_stubs()), marked, set(store.hot())
        transaction.set_rollback(True)
    return found


def test_at_every_moment(store, monkeypatch):
    ages = [31, 31, 32, 32, 32, 33, 33, 34, 88, 89]
    for user_id in ("ada", "bob"):
        store.fill(
            *(NOW - age * DAY - n * timedelta(hours=1) for n, age in enumerate(ages)),
            user_id=user_id,
        )
    # Nobody touches these again, once they are archived.
    store.fill(*(NOW - 30.5 * DAY - n * timedelta(hours=1) for n in range(4)), user_id="carol")
    store.run("archive_interactions", "--batch-size", "2", now=NOW - DAY)
    moments = Moments(store, monkeypatch)
    store.run("archive_interactions", "--batch-size", "2", now=NOW)
    store.run("restore_archive", str((NOW - 32 * DAY).date()), now=NOW)
    store.storage.delete_interaction_sync(store.cold()[0])
    store.run("archive_interactions", "--batch-size", "3", now=NOW)
    store.run("erase_user", "bob", now=NOW)
    moments.note()
    seen = len(moments.all)
    assert seen > 20
    monkeypatch.undo()
    monkeypatch.setattr(type(store.storage.database), "scrub", lambda database: None)
    unread = 0
    for tables, segments in moments.all[1::EVERY]:
        assert restored(store, tables, segments) == restored(store, tables, {})
        unread += len(segments.items() & generations.complete(store.archive).items())
    assert unread > seen / EVERY, "some segments were the same"


@pytest.mark.every_backend
def test_keys_of_requests_go_with_a_user_who_has_no_interaction(store, make_interaction):
    """Erased after the moment that is restored, when what the key has made was deleted already."""
    key = Idempotency("k" * 64, "r" * 64)
    made, _ = store.storage.create_interaction_sync(make_interaction(user_id="ada"), key)
    store.storage.delete_interaction_sync(made.interaction_id)
    ledger.request(store.archive, "ada")
    bring_up_to_date(RestoredDatabase(store.storage, None, store.archive), POLICY)
    assert store.storage.database.forget_user("ada") == {"idempotency_records": 0}


def test_a_copy_is_scrubbed_though_nobody_has_to_be_erased_again(store, monkeypatch):
    """It may be older than the scrub after an erasure whose rows it lacks."""
    scrubbed = []
    database = store.storage.database
    monkeypatch.setattr(database, "scrub", lambda: scrubbed.append("scrubbed"))
    restored = RestoredDatabase(store.storage, None, store.archive)
    assert (bring_up_to_date(restored, POLICY), scrubbed) == (0, [])
    ledger.request(store.archive, "bob")
    assert (bring_up_to_date(restored, POLICY), scrubbed) == (0, ["scrubbed"])


@pytest.mark.every_backend
@pytest.mark.parametrize("kind", ["user", "day"])
def test_what_is_held_is_not_erased_for_a_request_that_is_pending(store, kind):
    """The hold came before the request could be done, and forbids it until it is lifted."""
    ids = store.fill(NOW - DAY, NOW - 2 * DAY)
    ledger.request(store.archive, "ada")
    value = "ada" if kind == "user" else (NOW - DAY).date().isoformat()
    holds.put(store.archive, Hold(kind, value, "a case", NOW))
    bring_up_to_date(RestoredDatabase(store.storage, None, store.archive), POLICY)
    assert store.hot() == (ids[::-1] if kind == "user" else ids[:1])


@pytest.mark.every_backend
def test_a_hold_that_came_after_an_erasure_brings_nothing_back(store):
    store.fill(NOW - DAY)
    asked = ledger.request(store.archive, "ada")
    ledger.finish(store.archive, asked, {"finished_at": NOW.isoformat()})
    holds.put(store.archive, Hold("user", "ada", "a case", NOW))
    later = store.fill(NOW + DAY)
    bring_up_to_date(RestoredDatabase(store.storage, None, store.archive), POLICY)
    assert store.hot() == later


@pytest.mark.every_backend
def test_rows_that_moved_are_kept_and_stubs_without_rows_go(store):
    """A day was restored and archived again, and somebody was erased, after the backup."""
    moved, gone, same = store.fill(*(NOW - 40 * DAY - n * timedelta(hours=1) for n in range(3)))
    store.run("archive_interactions", now=NOW)
    (segment,) = store.segments()
    rows = {row.interaction_id: row for row in store.archive.rows(segment)}
    other = store.archive.new_segment(rows[moved].created_at.date())
    store.archive.write(other, [rows[moved]])
    store.archive.rewrite(
        segment, lambda found: [row for row in found if row.interaction_id == same]
    )
    bring_up_to_date(RestoredDatabase(store.storage, None, store.archive), POLICY)
    assert store.storage.get_interaction_sync(gone) is None
    assert store.run("verify_archive", "--stubs", now=NOW)["damaged"] == []
    store.run("archive_interactions", now=NOW)  # completes what is marked
    assert store.cold() == [moved, same]
    store.check_readable([moved, same])
    assert {stub.interaction_id for stub in store.storage.database.all_stubs()} == {moved, same}


@pytest.mark.every_backend
@pytest.mark.parametrize("marked", ["old", "new", "both", "gone"])
def test_rows_that_moved_are_kept_though_a_segment_is_marked(store, marked):
    """A deletion marks a segment, and so does a run that was killed."""
    moved, same = store.fill(*(NOW - 40 * DAY - n * timedelta(hours=1) for n in range(2)))
    store.run("archive_interactions", now=NOW)
    (segment,) = store.segments()
    rows = {row.interaction_id: row for row in store.archive.rows(segment)}
    other = store.archive.new_segment(rows[moved].created_at.date())
    new_rows = list(rows.values()) if marked == "gone" else [rows[moved]]
    store.archive.write(other, new_rows)
    if marked == "gone":
        store.archive.remove(segment)
    else:
        store.archive.rewrite(
            segment, lambda found: [row for row in found if row.interaction_id == same]
        )
    if marked != "new":
        store.archive.mark(segment)
    if marked in ("new", "both"):
        store.archive.mark(other)
    bring_up_to_date(RestoredDatabase(store.storage, None, store.archive), POLICY)
    store.run("archive_interactions", now=NOW)  # completes what is marked
    assert store.cold() == [moved, same]
    store.check_readable([moved, same])
    assert store.run("verify_archive", "--stubs", now=NOW)["damaged"] == []


@pytest.mark.every_backend
def test_a_segment_whose_manifest_is_lost_keeps_its_stubs(store):
    """Somebody may find it again. Until then the row is known to be damaged."""
    (interaction_id,) = store.fill(NOW - 40 * DAY)
    store.run("archive_interactions", now=NOW)
    (segment,) = store.segments()
    manifest = store.archive.files.read(f"{segment}.json")
    store.archive.files.delete(f"{segment}.json")
    bring_up_to_date(RestoredDatabase(store.storage, None, store.archive), POLICY)
    store.archive.files.write(f"{segment}.json", manifest)
    assert store.cold() == [interaction_id]


@pytest.mark.every_backend
def test_a_damaged_segment_does_not_keep_a_table_from_being_restored(store, caplog):
    moved, same, other = store.fill(
        *(NOW - 40 * DAY - n * timedelta(hours=1) for n in range(2)), NOW - 50 * DAY
    )
    store.run("archive_interactions", now=NOW)
    far, near = store.segments()
    rows = {row.interaction_id: row for row in store.archive.rows(near)}
    new = store.archive.new_segment(rows[moved].created_at.date())
    store.archive.write(new, [rows[moved]])
    manifest = store.archive.manifest(near)
    store.archive.files.write(manifest.data, b"damage".ljust(manifest.bytes))
    store.storage.database.drop_stubs([other], far)
    for _ in range(2):
        bring_up_to_date(RestoredDatabase(store.storage, None, store.archive), POLICY)
        found = {stub.interaction_id: stub.segment for stub in store.storage.database.all_stubs()}
        assert found == {moved: new, same: near, other: far}
    assert f"{manifest.data} in the archive is damaged" in caplog.text
    assert store.archive.marked() == {}


@pytest.mark.every_backend
@pytest.mark.parametrize("damage", ["of the data", "no manifest"])
def test_a_damaged_segment_takes_no_newer_row_away(store, make_interaction, damage):
    """It is as at the time of the backup, since nobody could take out what was deleted."""
    again, same = store.fill(*(NOW - 50 * DAY - n * timedelta(hours=1) for n in range(2)))
    store.run("archive_interactions", now=NOW)
    (old,) = store.segments()
    backup = generations.complete(store.archive)
    manifest = store.archive.manifest(old)
    if damage == "no manifest":
        store.archive.files.delete(f"{old}.json")
    else:
        store.archive.files.write(manifest.data, b"damage".ljust(manifest.bytes))
    (stub,) = store.storage.database.stubs([again]).values()
    store.storage.delete_interaction_sync(again)
    newer = make_interaction(interaction_id=again, created_at=NOW - 40 * DAY)
    store.storage.copy_interactions([newer])
    store.run("archive_interactions", now=NOW, status=1)
    new = store.storage.database.stubs([again])[again].segment
    assert new != old
    store.storage.database.drop_stubs([again], new)
    as_it_was = make_interaction(interaction_id=again, created_at=stub.created_at)
    store.storage.database.adopt([as_it_was], old)
    restored = RestoredDatabase(store.storage, None, store.archive, backup)
    bring_up_to_date(restored, POLICY)
    store.run("archive_interactions", now=NOW, status=1)
    found = {stub.interaction_id: stub.segment for stub in store.storage.database.all_stubs()}
    assert found == {again: new, same: old}
    assert store.storage.get_interaction_sync(again).created_at == newer.created_at


def test_what_will_have_expired_gets_its_stubs_too(store, settings):
    """The copy takes the place of the database now, whatever time --now names."""
    settings.RETENTION_TOTAL_DAYS = (datetime.now(UTC) - NOW).days + 90
    (interaction_id,) = store.fill(NOW - 40 * DAY)
    store.run("archive_interactions", now=NOW)
    store.storage.database.drop_stubs([interaction_id], store.segments()[0])
    later = Policy(NOW + 60 * DAY, 30, 90)
    bring_up_to_date(RestoredDatabase(store.storage, None, store.archive), later)
    assert store.cold() == [interaction_id]


def test_nowhere_for_a_temporary_file(store, settings):
    store.fill(NOW - 40 * DAY)
    store.run("archive_interactions", now=NOW)
    before = set(store.storage.database.all_stubs())
    settings.DATA_DIR = settings.DATA_DIR / "file"
    settings.DATA_DIR.write_text("not a folder")
    with pytest.raises(
        StorageUnavailable, match="A temporary file in DATA_DIR could not be written: "
    ):
        bring_up_to_date(RestoredDatabase(store.storage, None, store.archive), POLICY)
    assert set(store.storage.database.all_stubs()) == before


@pytest.mark.parametrize("backend", ["dynamodb"], indirect=True)
def test_requests_in_dynamodb(store, monkeypatch):
    """Two scans, whatever there is, and two for each row without a stub, 100 read at once."""
    start = NOW - 40 * DAY
    ids = store.fill(*(start + timedelta(seconds=number) for number in range(250)))
    store.run("archive_interactions", now=NOW)
    store.storage.database.drop_stubs(ids[:3], store.segments()[0])
    used = Counter()
    request = Client.request

    def counting(client, operation, parameters):
        used[operation] += 1
        return request(client, operation, parameters)

    monkeypatch.setattr(Client, "request", counting)
    restored = RestoredDatabase(store.storage, None, store.archive)
    bring_up_to_date(restored, POLICY)
    assert used["Scan"] == 2, "of large texts and of stubs: 1 MB each"
    assert used["BatchGetItem"] == 1, "the three without a stub"
    assert used["PutItem"] <= 3 + 1, "stubs, and the lock that names the archive"
    assert store.cold() == ids
    used.clear()
    bring_up_to_date(restored, POLICY)
    assert used["PutItem"] <= 1
    assert used["BatchGetItem"] == 0
    assert used.total() <= 2 + 5


@pytest.mark.parametrize("has_interactions", [True, False], ids=["development", "production"])
def test_usage_of_who_was_erased_goes_and_the_rest_is_counted_again(store, has_interactions):
    store.fill(NOW - DAY, user_id="bob")
    store.run("erase_user", "bob", now=NOW)
    for user_id in ("bob", "carol"):
        UsageOfUser.objects.create(day=NOW - DAY, user_id=user_id, model_used="m")
    storage = store.storage if has_interactions else None
    bring_up_to_date(RestoredDatabase(storage, "default", store.archive), POLICY)
    assert [row.user_id for row in UsageOfUser.objects.all()] == ["carol"]
    assert roll_ups.is_rebuild_due() == has_interactions


@pytest.mark.parametrize("has_interactions", [True, False], ids=["development", "production"])
def test_nothing_is_left_of_api_keys_either(store, monkeypatch, has_interactions):
    store.fill(NOW - DAY, user_id="bob")
    store.run("erase_user", "bob", now=NOW)
    ApiKey.objects.create(name="k", prefix="p", hashed_key="h", user_id="bob")
    file = Path(connection.settings_dict["NAME"])

    def forget(*_):
        """As if what was deleted had been on pages that were divided."""
        assert is_emptied(Statements("default"))
        content = bytearray(file.read_bytes())
        layout = Layout.of(bytes(content[:100]), len(content))
        for page in set(range(2, layout.pages + 1)) - layout.skipped():
            begin, end = layout.gap(content, (page - 1) * layout.page_size) or (0, 0)
            if end - begin > len(MARKER):
                content[begin : begin + len(MARKER)] = MARKER
        with file.open("r+b") as opened:
            opened.write(content)
        return {"api_keys": 1}

    monkeypatch.setattr(accounts, "forget_user", forget)
    storage = store.storage if has_interactions else None
    assert bring_up_to_date(RestoredDatabase(storage, "default", store.archive), POLICY) == 1
    assert MARKER not in file.read_bytes()
