"""What SQLite raises comes out as an error of the storage interface, with its cause."""

import sqlite3
import traceback

import pytest
from django.core.cache import caches
from django.db import DatabaseError

from storage.archive.archive import configured_archive
from storage.exceptions import StorageError, StorageFull, StorageUnavailable
from storage.models.idempotency import Idempotency
from storage.records.pages import PageQuery
from storage.sqlite.statements import Statements
from storage.startup.selection import local_storage

OPERATIONS = {
    "get": lambda storage, make: storage.get_interaction_sync("i"),
    "save": lambda storage, make: storage.save_interaction_sync(make()),
    "create": lambda storage, make: storage.create_interaction_sync(make()),
    "create many": lambda storage, make: storage.create_interactions_sync([make()]),
    "create once": lambda storage, make: storage.create_interaction_sync(
        make(), Idempotency("k", "r")
    ),
    "update": lambda storage, make: storage.update_interaction_sync("i", {"response": "r"}),
    "delete": lambda storage, make: storage.delete_interaction_sync("i"),
    "list": lambda storage, make: storage.list_interactions_sync(PageQuery()),
    "list a user's": lambda storage, make: storage.get_user_interactions_sync("ada", 5),
}
WRITES = ["save", "create", "create many"]


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_database_that_cannot_be_opened_is_unavailable(
    add_database, tmp_path, make_interaction, operation
):
    connection = add_database("missing", name=str(tmp_path / "no" / "x.sqlite3"), tables=False)
    storage = local_storage(connection.alias, caches["default"], configured_archive())
    with pytest.raises(StorageUnavailable):
        OPERATIONS[operation](storage, make_interaction)


def test_a_text_that_another_program_has_broken_is_not_quoted(add_database, make_interaction):
    connection = add_database("broken")
    storage = local_storage("broken", caches["default"], configured_archive())
    storage.create_interaction_sync(make_interaction(interaction_id="i"))
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE storage_chatinteraction SET message = CAST(X'736563726574FF' AS TEXT)"
        )
    with pytest.raises(StorageUnavailable) as failure:
        storage.get_interaction_sync("i")
    assert "Could not decode to UTF-8 column 'message'" in str(failure.value)
    assert "secret" not in "".join(traceback.format_exception(failure.value)), "the cause neither"


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_file_that_is_no_database_is_unavailable(
    add_database, tmp_path, make_interaction, operation
):
    path = tmp_path / "broken.sqlite3"
    path.write_bytes(b"This is not a database. " * 1000)
    connection = add_database("broken", name=str(path), tables=False)
    storage = local_storage(connection.alias, caches["default"], configured_archive())
    with pytest.raises(StorageUnavailable):
        OPERATIONS[operation](storage, make_interaction)


def test_a_locked_database_is_unavailable_and_the_cause_is_told(add_database, make_interaction):
    connection = add_database("locked", timeout=0.05)
    storage = local_storage("locked", caches["default"], configured_archive())
    other = sqlite3.connect(connection.settings_dict["NAME"], isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageUnavailable) as failure:
        storage.save_interaction_sync(make_interaction(message="secret"))
    assert "locked" in str(failure.value.__cause__)
    assert isinstance(failure.value.__cause__, DatabaseError)
    assert failure.value.retry_after >= 1
    assert "secret" not in f"{failure.value} {failure.value.__cause__}"
    other.close()
    storage.save_interaction_sync(make_interaction())


def limit_pages(connection, pages=1):
    """Let the database grow no further: SQLite says of it what it says of a full disk.

    If it has more pages, those it has are the limit. It holds for the connection that commits.
    """
    statements = Statements(connection.alias)
    statements.transaction(lambda: statements.rows(f"PRAGMA max_page_count = {pages}", {}))


@pytest.mark.parametrize("operation", WRITES)
def test_a_full_disk_is_said_to_be_full_and_nothing_is_written(
    other, other_storage, make_interaction, operation
):
    limit_pages(other)
    with pytest.raises(StorageFull) as failure:
        OPERATIONS[operation](other_storage, lambda: make_interaction(message="m" * 120_000))
    assert failure.value.retry_after >= 1
    assert other_storage.list_interactions_sync(PageQuery()).interactions == []


@pytest.mark.parametrize("some_exist", [False, True])
def test_a_batch_for_which_the_disk_is_too_small_leaves_nothing(
    other, other_storage, make_interaction, some_exist
):
    batch = [
        make_interaction(interaction_id=str(n), message="m" * size)
        for n, size in enumerate((1, 1, 120_000, 1))
    ]
    before = batch[1:2] if some_exist else []  # which takes another way through the batch
    other_storage.create_interactions_sync(before)
    limit_pages(other)
    with pytest.raises(StorageFull):
        other_storage.create_interactions_sync(batch)
    assert other_storage.list_interactions_sync(PageQuery()).interactions == before


def test_a_full_disk_lets_reads_go_on_and_writes_once_there_is_room(
    other, other_storage, make_interaction
):
    other_storage.save_interaction_sync(make_interaction(interaction_id="i"))
    limit_pages(other)
    with pytest.raises(StorageFull):
        other_storage.save_interaction_sync(make_interaction(message="m" * 120_000))
    assert other_storage.get_interaction_sync("i") is not None
    limit_pages(other, 1_000_000)
    other_storage.save_interaction_sync(make_interaction(message="m" * 120_000))


def test_an_update_on_a_full_disk_leaves_what_was_there(other, other_storage, make_interaction):
    other_storage.save_interaction_sync(make_interaction(interaction_id="i", response="old"))
    limit_pages(other)
    with pytest.raises(StorageFull):
        other_storage.update_interaction_sync("i", {"response": "r" * 120_000})
    assert other_storage.get_interaction_sync("i").response == "old"
    assert not other.in_atomic_block
    assert not other.in_transaction()


def test_a_table_that_is_missing_is_unavailable(add_database, make_interaction):
    # As before the first migration: a 503 and not a crash.
    add_database("empty", tables=False)
    storage = local_storage("empty", caches["default"], configured_archive())
    with pytest.raises(StorageUnavailable):
        storage.get_interaction_sync("i")


def test_the_connection_that_commits_failing_is_unavailable(other, make_interaction, monkeypatch):
    # It is opened past the pool, and it also tells the cache of changes.
    def fail(*arguments):
        raise sqlite3.OperationalError("unable to open database file")

    storage = local_storage(other.alias, caches["default"], configured_archive())
    with monkeypatch.context() as patch:
        patch.setattr(type(other), "open", fail)
        for operation in ("get", "save"):
            with pytest.raises(StorageError):
                OPERATIONS[operation](storage, make_interaction)
    storage.save_interaction_sync(make_interaction(interaction_id="i"))
    assert storage.get_interaction_sync("i") is not None
