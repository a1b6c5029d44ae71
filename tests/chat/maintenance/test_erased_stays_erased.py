"""Who was erased does not come back with what others have kept: an export, or another database."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from chat.maintenance import holds
from chat.maintenance.erasure import ledger
from chat.maintenance.erasure.known import Erasures, UnknownKey
from chat.maintenance.holds import Hold
from storage.dynamodb.database import DynamoDBDatabase
from storage.exceptions import BatchUnfinished, StorageUnavailable
from storage.interface import Storage
from storage.models.interaction import FIELDS
from storage.records.json import format_time
from tests.chat.lines import command, summary
from tests.chat.maintenance.people import erase, left_of, make_people

pytestmark = pytest.mark.every_backend(exhaustive=True)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _no_lag(monkeypatch):
    monkeypatch.setattr(DynamoDBDatabase, "index_lag_seconds", 0)


@pytest.fixture
def people(store):
    return make_people(store)


@pytest.fixture
def export(store, people, tmp_path):
    """A file with all that ada and bob had, ada's hot and cold rows in lines 1 to 4."""
    path = tmp_path / "kept.jsonl"
    path.write_text("".join(line_of(store.made[each]) for each in people["ada"] + people["bob"]))
    return path


def line_of(interaction):
    values = {name: getattr(interaction, name) for name in FIELDS}
    return json.dumps(values, default=format_time) + "\n"


def entered(store, user_id, ended_at=None):
    """An erasure in the ledger, as a run would leave it."""
    asked = ledger.request(store.archive, user_id)
    receipt = {"finished_at": format_time(ended_at or datetime.now(UTC))}
    return ledger.finish(store.archive, asked, receipt)


@pytest.mark.every_backend
def test_an_import_leaves_out_whom_an_erasure_has_removed_since(store, people, export):
    erase(store)
    status, said, errors = command("import_interactions", export)
    assert status == 1
    assert (
        said == "0 created, 4 unchanged, 0 in conflict, 0 bad lines, 4 of erased users left out.\n"
    )
    lines = errors.splitlines()
    assert [line.split(":")[0] for line in lines] == [f"line {number}" for number in (1, 2, 3, 4)]
    assert all("its user was erased after it was created" in line for line in lines)
    assert "ada" not in errors
    assert left_of(store, "ada") == []


def test_who_asks_for_it_gets_it_all_the_same(store, people, export):
    erase(store)
    status, said, _ = command("import_interactions", export, "--even-if-erased")
    assert (status, said) == (0, summary(created=4, unchanged=4))
    assert sorted(left_of(store, "ada")) == sorted(people["ada"])


def test_somebody_who_came_back_after_the_erasure_may_be_imported(
    store, make_interaction, tmp_path
):
    entered(store, "ada", datetime.now(UTC) - timedelta(days=2))
    path = tmp_path / "later.jsonl"
    times = [datetime.now(UTC) - timedelta(days=days) for days in (3, 1)]
    made = [
        make_interaction(interaction_id=f"id-{time:%d}", created_at=time, updated_at=time)
        for time in times
    ]
    path.write_text("".join(map(line_of, made)))
    status, said, errors = command("import_interactions", path)
    assert (status, said.split(",")[0]) == (1, "1 created")
    assert errors.startswith("line 1: ")
    assert left_of(store, "ada") == [f"id-{times[1]:%d}"]


@pytest.mark.parametrize("days", [(3, 1), (1, 3)])
def test_of_several_erasures_the_last_one_counts(store, make_interaction, days):
    """Somebody came back after the first, and was erased again."""
    now = datetime.now(UTC)
    for each in days:
        entered(store, "ada", now - timedelta(days=each))
    erasures = Erasures(EPOCH, store.archive)
    assert erasures.cover(make_interaction(created_at=now - timedelta(days=2)))


def test_a_segment_that_names_its_users_by_another_key_may_have_the_erased(store, people, settings):
    (segment,) = store.segments()
    manifest = store.archive.manifest(segment)
    entered(store, "carl")
    assert not Erasures(EPOCH, store.archive).may_cover(manifest)
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "k" * 50
    entered(store, "ada")
    assert Erasures(EPOCH, store.archive).may_cover(manifest)


def test_an_erasure_that_is_only_requested_counts(store, people, export):
    ledger.request(store.archive, "ada")
    store.storage.erase_hot([store.made[each] for each in people["ada"][:2]], "ada")
    command("import_interactions", export)
    assert not set(people["ada"][:2]) & set(left_of(store, "ada"))


@pytest.mark.every_backend
def test_an_erasure_that_begins_and_ends_within_a_batch_wins(store, people, export, monkeypatch):
    """The batch was looked up before it, and is written after its last sweep."""
    erase(store)
    for done in list(ledger.done(store.archive)):
        store.archive.files.delete(f"{ledger.DONE}/{done.erasure_id}.json")
    create = type(store.storage).create_interactions_sync

    def late(self, interactions):
        outcomes = create(self, interactions)
        entered(store, "ada")
        return outcomes

    with monkeypatch.context() as patch:
        patch.setattr(type(store.storage), "create_interactions_sync", late)
        status, said, _ = command("import_interactions", export)
    assert (status, said.split(",")[0]) == (1, "0 created")
    assert left_of(store, "ada") == []


@pytest.mark.parametrize("away", [False, True], ids=["it answers again", "it stays away"])
@pytest.mark.every_backend
def test_an_erasure_wins_over_a_batch_of_which_only_a_part_was_saved(
    store, people, export, monkeypatch, away
):
    """Also if that could not be taken back at once: who repeats the import does it."""
    create, look_at = Storage.create_interactions_sync, type(store.storage.database).look_at
    erase(store)
    erased = ledger.done(store.archive, known=())
    (name,) = [f"{ledger.DONE}/{each.erasure_id}.json" for each in erased]
    document = store.archive.files.read(name)
    store.archive.files.delete(name)

    def unfinished(self, interactions):
        store.archive.files.write(name, document)
        create(self, interactions[:3])
        raise BatchUnfinished([each.interaction_id for each in interactions[3:]])

    def fails(*_):
        raise StorageUnavailable

    monkeypatch.setattr(Storage, "create_interactions_sync", unfinished)
    if away:
        monkeypatch.setattr(type(store.storage.database), "look_at", fails)
    status, _, errors = command("import_interactions", export)
    assert (status, "may not have been saved" in errors) == (1, True)
    assert len(left_of(store, "ada")) == (3 if away else 0)
    monkeypatch.setattr(Storage, "create_interactions_sync", create)
    monkeypatch.setattr(type(store.storage.database), "look_at", look_at)
    command("import_interactions", export)
    assert left_of(store, "ada") == []
    assert sorted(left_of(store, "bob")) == sorted(people["bob"])


def test_what_was_brought_back_on_purpose_and_is_held_stays(store, people, export):
    """Another import of the same file takes it for what one that failed has left."""
    erase(store)
    command("import_interactions", export, "--even-if-erased")
    holds.add(store.archive, Hold("user", "ada", "case 4711", datetime.now(UTC)))
    command("import_interactions", export)
    assert sorted(left_of(store, "ada")) == sorted(people["ada"])


def test_without_its_archive_nothing_is_imported(store, people, export, tmp_path, monkeypatch):
    """An archive that is not mounted has no ledger that could be asked."""
    from storage.archive.archive import Archive
    from storage.archive.folder import ArchiveFolder

    erase(store)
    monkeypatch.setattr(store.storage, "archive", Archive(ArchiveFolder(tmp_path / "empty")))
    status, _, errors = command("import_interactions", export)
    assert (status, "mounted" in errors) == (1, True)
    assert left_of(store, "ada") == []


def test_a_ledger_that_cannot_be_read_is_no_empty_one(store, people, export, settings):
    erase(store)
    settings.SECRET_KEY, before = "k" * 50, settings.SECRET_KEY
    status, _, errors = command("import_interactions", export)
    assert (status, "SECRET_KEY_FALLBACKS" in errors) == (1, True)
    settings.SECRET_KEY_FALLBACKS = [before]
    assert command("import_interactions", export)[1].startswith("0 created")


def test_a_key_may_be_forgotten_once_all_that_it_concerns_has_expired(store, settings):
    entered(store, "ada", datetime.now(UTC) - timedelta(days=91))
    settings.SECRET_KEY = "k" * 50
    Erasures(datetime.now(UTC) - timedelta(days=90), store.archive)
    with pytest.raises(UnknownKey):
        Erasures(datetime.now(UTC) - timedelta(days=92), store.archive)


def test_only_new_entries_are_read_again(store, monkeypatch):
    entered(store, "ada")
    erasures = Erasures(EPOCH, store.archive)
    read = []
    original = store.archive.files.read_document
    monkeypatch.setattr(
        store.archive.files, "read_document", lambda name: (read.append(name), original(name))[1]
    )
    assert not erasures.look()
    assert read == []
    entered(store, "bob")
    assert erasures.look()
    assert len([name for name in read if name.startswith(ledger.DONE)]) == 1
    assert erasures.erased("bob")


def test_a_hold_is_read_once_however_long_an_erasure_is_pending(store, people, monkeypatch):
    holds.add(store.archive, Hold("user", "ada", "case 4711", datetime.now(UTC)))
    ledger.request(store.archive, "ada")
    erasures = Erasures(EPOCH, store.archive)
    read = []
    original = store.archive.files.read_document
    monkeypatch.setattr(
        store.archive.files, "read_document", lambda name: (read.append(name), original(name))[1]
    )
    erasures.look()
    assert not [name for name in read if name.startswith(holds.FOLDER)]
    assert erasures.erased("ada") is None
    ledger.request(store.archive, "bob")
    holds.add(store.archive, Hold("user", "bob", "case 4712", datetime.now(UTC)))
    holds.lift(store.archive, holds.find(store.archive, "user", "ada"))
    erasures.look()
    assert (erasures.erased("ada") is None, erasures.erased("bob")) == (False, None)
