"""A database that is removed or replaced while it is in use: nothing is acknowledged and lost."""

import os
import shutil
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from sqlite3 import OperationalError

import pytest
from django.db import DatabaseError, connections, transaction

from storage.exceptions import StorageUnavailable
from storage.large.texts import LargeTexts
from storage.models import ChatInteraction
from storage.records import texts
from storage.records.pages import PageQuery
from storage.sqlite.base import close_idle_connections
from storage.sqlite.open_files import OpenFiles
from tests.forks import in_fork


def remove_everything(database):
    for path in database.parent.glob(f"{database.name}*"):
        path.unlink()


def remove_the_file(database):
    database.unlink()


def remove_the_log(database):
    Path(f"{database}-wal").unlink()


def put_a_copy_in_its_place(database):
    copy = database.with_name("copy")
    shutil.copy(database, copy)
    copy.replace(database)


def rename_the_folder(database):
    database.parent.rename(renamed(database))


def renamed(database):
    return database.parent.with_name(f"{database.parent.name} renamed")


def lead_the_link_elsewhere(database):
    """As `ln -sf` does; the file that was there before stays."""
    other = database.with_name("elsewhere.sqlite3")
    shutil.copy(database, other)
    link = database.with_name("link")
    link.symlink_to(other)
    link.replace(database)


LOSSES = [
    remove_everything,
    remove_the_file,
    remove_the_log,
    put_a_copy_in_its_place,
    rename_the_folder,
    lead_the_link_elsewhere,
]

WRITES = {
    "save": lambda storage, new: storage.save_interaction_sync(new(interaction_id="x")),
    "create": lambda storage, new: storage.create_interaction_sync(new()),
    "batch": lambda storage, new: storage.create_interactions_sync([new(), new()]),
    "update": lambda storage, new: storage.update_interaction_sync("kept", {"response": "r"}),
    "delete": lambda storage, new: storage.delete_interaction_sync("kept"),
    "lock": lambda storage, new: storage.database.acquire_lock("l", "me", 9),
    "archive": lambda storage, new: storage.database.move_to_cold(
        [storage.get_interaction_sync("kept")], "2026-01-01/x"
    ),
}


@pytest.fixture
def database(other, other_storage, make_interaction):
    """A database with one interaction, to which this thread is connected."""
    other_storage.create_interaction_sync(make_interaction(interaction_id="kept"))
    return Path(other.settings_dict["NAME"])


def test_a_log_without_its_database_is_kept(other, other_storage, database):
    """As if a command ran while somebody has moved the file; SQLite would delete the log."""
    aside = database.with_name("aside")
    with sqlite3.connect(database) as holder:  # a server that keeps the log alive
        holder.execute("SELECT count(*) FROM storage_chatinteraction")
        close_idle_connections()
        log = Path(f"{database}-wal").read_bytes()
        assert log
        database.rename(aside)
        open_files = OpenFiles(str(database))
        with pytest.raises(OperationalError, match="its write-ahead log is there"):
            open_files.opening()
        assert not database.exists()
        assert Path(f"{database}-wal").read_bytes() == log
        aside.rename(database)
        open_files.opening()
    holder.close()
    assert other_storage.get_interaction_sync("kept") is not None


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_no_write_is_acknowledged_once_the_file_is_gone(
    other_storage, make_interaction, database, write
):
    remove_everything(database)
    with pytest.raises(StorageUnavailable, match="was removed or replaced while in use"):
        write(other_storage, make_interaction)


@pytest.mark.parametrize("lose", LOSSES, ids=lambda lose: lose.__name__)
def test_each_way_to_lose_the_file_is_noticed(
    other, other_storage, make_interaction, database, lose
):
    lose(database)
    with pytest.raises(StorageUnavailable, match="was removed or replaced"):
        other_storage.check_available_sync()
    other.close()
    with pytest.raises(StorageUnavailable, match="was removed or replaced"):
        other_storage.create_interaction_sync(make_interaction())


def test_what_orm_transactions_save_counts_too(other, make_interaction, database):
    remove_everything(database)
    with pytest.raises(DatabaseError, match="was removed or replaced"), transaction.atomic("other"):
        make_interaction().save(using="other", force_insert=True)
    assert not other.in_transaction()


def test_the_log_has_one_line_however_many_writes_fail(
    other_storage, make_interaction, database, caplog
):
    remove_everything(database)
    for _ in range(3):
        with pytest.raises(StorageUnavailable):
            other_storage.create_interaction_sync(make_interaction())
    assert [record.levelname for record in caplog.records] == ["CRITICAL"]
    assert str(database) in caplog.text


def test_no_new_file_is_made_and_nothing_is_read_any_more(
    other, other_storage, make_interaction, database
):
    """A reader would be shown what is not there, or an empty database."""
    remove_everything(database)
    with pytest.raises(StorageUnavailable):
        other_storage.create_interaction_sync(make_interaction())
    other.close()
    for _ in range(2):  # a pooled connection, and a thread that needs a new one
        with (
            ThreadPoolExecutor(1) as executor,
            pytest.raises(StorageUnavailable, match="was removed or replaced"),
        ):
            executor.submit(other_storage.list_interactions_sync, PageQuery(limit=5)).result()
        other.close()
    assert not database.exists()


def test_a_thread_that_connects_afterwards_makes_no_new_file(other, other_storage, database):
    other.ensure_connection()  # which the other thread cannot borrow, so it opens one
    remove_everything(database)  # nobody has noticed yet
    with (
        ThreadPoolExecutor(1) as executor,
        pytest.raises(StorageUnavailable, match="was removed or replaced"),
    ):
        executor.submit(other_storage.list_interactions_sync, PageQuery(limit=5)).result()
    assert not database.exists()


def test_a_file_that_comes_back_is_used_again(other, other_storage, make_interaction, database):
    rename_the_folder(database)
    with pytest.raises(StorageUnavailable):
        other_storage.create_interaction_sync(make_interaction(interaction_id="a"))
    renamed(database).rename(database.parent)
    other.close()
    other_storage.create_interaction_sync(make_interaction(interaction_id="b"))
    other_storage.check_available_sync()
    assert other_storage.get_interaction_sync("kept") is not None


LARGE = "a large text " * 20
LARGE_WRITES = {
    "save": lambda storage, new: storage.save_interaction_sync(new(response=LARGE)),
    "create": lambda storage, new: storage.create_interaction_sync(new(response=LARGE)),
    "batch": lambda storage, new: storage.create_interactions_sync([new(response=LARGE), new()]),
    "update": lambda storage, new: storage.update_interaction_sync("kept", {"response": LARGE}),
}


@pytest.mark.parametrize("write", LARGE_WRITES.values(), ids=LARGE_WRITES)
def test_a_large_text_is_kept_when_nobody_knows_whether_its_row_is(
    other, other_storage, make_interaction, database, monkeypatch, write
):
    monkeypatch.setattr(texts, "INLINE_MAX_BYTES", 100)
    write_object = LargeTexts._write

    def write_and_rename(*arguments):
        kept = write_object(*arguments)
        rename_the_folder(database)
        return kept

    monkeypatch.setattr(LargeTexts, "_write", write_and_rename)
    with pytest.raises(StorageUnavailable):
        write(other_storage, make_interaction)
    renamed(database).rename(database.parent)
    rows = ChatInteraction.objects.using(other.alias).exclude(text_object=None)
    (row_id,) = rows.values_list("pk", flat=True)
    assert other_storage.get_interaction_sync(row_id).response == LARGE


def test_connections_that_all_close_take_the_log_with_them_which_is_no_loss(
    other, other_storage, make_interaction, database
):
    """As before each fork: the next connection makes a new log."""
    log = Path(f"{database}-wal")
    with log.open("rb") as before:  # its number is not given to the new log
        other.close()
        close_idle_connections()
        assert not log.exists()
        other_storage.create_interaction_sync(make_interaction())
        assert not os.path.samestat(os.fstat(before.fileno()), log.stat())
        other_storage.check_available_sync()


def test_a_forked_child_notices_too(other, other_storage, make_interaction, database):
    other.close()
    remove_everything(database)

    def save():
        with pytest.raises(StorageUnavailable):
            other_storage.create_interaction_sync(make_interaction())

    in_fork(save)
    assert not database.exists()


def test_threads_that_write_meanwhile_are_told_of_all_that_is_lost(
    other_storage, make_interaction, database
):
    """What was acknowledged before the file went is in it; afterwards nothing is acknowledged."""
    begun, gone, lost = threading.Barrier(4, timeout=300), threading.Event(), []

    def write(name):
        begun.wait()
        for number in range(1_000_000):
            was_gone = gone.is_set()
            try:
                other_storage.create_interaction_sync(
                    make_interaction(interaction_id=f"{name}-{number}")
                )
            except StorageUnavailable:
                break
            if was_gone:
                lost.append(number)
        connections["other"].close()

    with ThreadPoolExecutor(3) as executor:
        writers = [executor.submit(write, name) for name in "abc"]
        begun.wait()
        put_a_copy_in_its_place(database)
        gone.set()
    assert [writer.result() for writer in writers] == [None] * 3
    assert lost == []


def test_a_write_looks_at_two_files_and_no_more(
    other_storage, make_interaction, database, monkeypatch
):
    looked, stat = [], os.stat
    monkeypatch.setattr(
        os, "stat", lambda *args, **more: looked.append(args) or stat(*args, **more)
    )
    other_storage.create_interaction_sync(make_interaction())
    assert looked == [(str(database),), (f"{database}-wal",)]
    looked.clear()
    assert ChatInteraction.objects.using("other").count() == 2
    assert other_storage.get_interaction_sync("kept") is not None
    assert looked == []  # a read looks at none
