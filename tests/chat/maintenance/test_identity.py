"""A run refuses an archive that is not the one of its database."""

from datetime import UTC, datetime, timedelta

import pytest

from chat.maintenance.identity import ArchiveMismatch, confirm_archive, take_over
from chat.maintenance.runs import LOCK, Run
from storage.archive.archive import Archive
from storage.archive.folder import ArchiveFolder
from storage.archive.ownership import NAME
from storage.exceptions import StorageUnavailable
from storage.models import ArchivedInteraction, Lock

pytestmark = pytest.mark.every_backend

NOW = datetime.now(UTC)


@pytest.fixture
def mount(storage, tmp_path, monkeypatch):
    """Makes the folder of this name the archive."""

    def mount(name):
        monkeypatch.setattr(storage, "archive", Archive(ArchiveFolder(tmp_path / name)))
        return storage.archive

    return mount


def test_the_first_run_takes_whatever_archive_there_is(storage, mount):
    mount("first")
    for _ in range(2):
        with Run(storage):
            pass


def test_an_empty_archive_in_the_place_of_one_that_was_used_is_refused(storage, mount, tmp_path):
    mount("first")
    with Run(storage):
        pass
    mount("nothing is mounted here")
    with pytest.raises(ArchiveMismatch, match="mounted"), Run(storage):
        pass
    assert not (tmp_path / "nothing is mounted here" / NAME).exists()
    assert storage.database.acquire_lock(LOCK, "another run", 60)
    storage.database.release_lock(LOCK, "another run")
    mount("first")
    with Run(storage):
        pass


READS = (
    ("export_interactions", "--tier", "archive", "-"),
    ("export_user", "ada", "--dry-run"),
    ("verify_archive", "--dry-run"),
    ("verify_archive",),
    ("storage_status",),
    ("legal_hold", "list"),
)


@pytest.mark.parametrize("command", READS, ids=" ".join)
def test_nothing_is_read_from_an_archive_that_is_not_there(store, mount, command):
    """The answer would look complete."""
    store.fill(NOW - timedelta(days=40))
    store.run("archive_interactions", now=NOW)
    mount("nothing is mounted here")
    status, said, errors = store.told(*command)
    assert (status, "Is its disk mounted" in errors) == (1, True), said


def test_a_run_that_dies_before_the_database_knows_leaves_nothing_stuck(
    storage, mount, monkeypatch
):
    mount("first")
    take = storage.database.acquire_lock

    def dead(name, *args):
        if name == "archive":
            raise KeyboardInterrupt
        return take(name, *args)

    monkeypatch.setattr(storage.database, "acquire_lock", dead)
    with pytest.raises(KeyboardInterrupt), Run(storage):
        pass
    monkeypatch.undo()
    mount("first")
    with Run(storage):
        pass


CHANGES = (
    ("archive_interactions",),
    ("restore_archive", (NOW - timedelta(days=40)).date().isoformat()),
    ("purge_interactions",),
    ("erase_user", "ada"),
    ("legal_hold", "add", "--user", "ada", "--reason", "case 1"),
)


def test_a_copy_of_a_table_leaves_the_archive_alone_until_it_takes_over(
    store, tmp_path, monkeypatch
):
    database = type(store.storage.database)
    monkeypatch.setattr(database, "name", "original")
    store.fill(NOW - timedelta(days=40), NOW - timedelta(days=31))
    store.run("archive_interactions", now=NOW - timedelta(days=2))
    _, files = store.state()
    monkeypatch.setattr(database, "name", "copy")
    for name, *arguments in CHANGES:
        for more in ([], ["--dry-run"]):
            status, _, errors = store.told(name, *arguments, "--now", NOW.isoformat(), *more)
            assert status == 1, name
            assert "The archive belongs to the table original, and this is copy." in errors
            assert "manage.py restore --to-table copy --erase-again" in errors
    assert dict(store._files("")) == files
    assert store.run("verify_archive", "--stubs", now=NOW)["damaged"] == []
    assert store.run("legal_hold", "list", now=NOW)["holds"] == 0
    assert dict(store._files("")).keys() == {*files, "verification.json"}
    assert store.told("export_interactions", "--tier", "archive", tmp_path / "export")[0] == 0
    assert len((tmp_path / "export").read_text().splitlines()) == 1
    take_over(store.storage)
    store.run("archive_interactions", now=NOW)
    monkeypatch.setattr(database, "name", "original")
    status, _, errors = store.told("archive_interactions", "--now", NOW.isoformat())
    assert (status, "this is original" in errors) == (1, True)


@pytest.mark.on_sqlite("what refuses it is the same; a table is not lost like a file")
def test_a_new_database_refuses_an_archive_with_interactions(store, monkeypatch):
    """Without stubs, all that is in it would count as deleted."""
    ids = store.fill(*[NOW - timedelta(days=40, microseconds=number) for number in range(3)])
    store.run("archive_interactions", now=NOW)
    _, files = store.state()
    forget_everything(store.storage)
    for name, *arguments in CHANGES:
        status, _, errors = store.told(name, *arguments, "--now", NOW.isoformat())
        assert (status, "this database knows of none" in errors) == (1, True), name
    assert dict(store._files("")) == files
    # The way out that the error names.
    path = str(store.archive.files.backend.path(store.archive.manifest(store.segments()[0]).data))
    assert store.told("import_interactions", path)[0] == 0
    assert sorted(store.hot()) == sorted(ids)


def forget_everything(storage):
    """As if the database had been lost, and a start had made a new one."""
    for model in (ArchivedInteraction, Lock):
        model.objects.all().delete()


def test_a_second_process_waits_until_the_first_has_used_it(storage, mount, monkeypatch):
    archive = mount("first")
    write = archive.files.write_document

    def meanwhile(name, content):
        with pytest.raises(StorageUnavailable, match="try again"):
            confirm_archive(storage)
        write(name, content)

    monkeypatch.setattr(archive.files, "write_document", meanwhile)
    confirm_archive(storage)
    monkeypatch.setattr(archive.files, "write_document", write)
    confirm_archive(storage)


def test_one_that_comes_just_after_takes_what_the_first_has_written(storage, mount, monkeypatch):
    archive = mount("first")
    read = archive.files.read_document

    def late(name):
        monkeypatch.setattr(archive.files, "read_document", read)
        found = read(name)
        confirm_archive(storage)  # of another process, between that look and what follows it
        return found

    monkeypatch.setattr(archive.files, "read_document", late)
    confirm_archive(storage)
    confirm_archive(storage)


@pytest.mark.on_sqlite("what refuses it is the same")
def test_nor_one_that_has_lost_its_name(store):
    store.fill(NOW - timedelta(days=40))
    store.run("archive_interactions", now=NOW)
    store.archive.files.delete(NAME)
    forget_everything(store.storage)
    status, _, errors = store.told("purge_interactions", "--now", NOW.isoformat())
    assert (status, "this database knows of none" in errors) == (1, True)
    assert len(store.segments()) == 1
