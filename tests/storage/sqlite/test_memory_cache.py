"""The cache in front of SQLite: hits are served, and never one that is out of date."""

import functools
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.core.cache import caches
from django.db import connections, transaction

from storage.archive.archive import configured_archive
from storage.cache import in_memory
from storage.cache.in_memory import InMemoryCache
from storage.cache.keys import interaction_key, string_key
from storage.models import ChatInteraction
from storage.sqlite.base import close_idle_connections
from storage.sqlite.pool import Pool
from storage.startup.selection import local_storage


@pytest.fixture
def stored(other_storage, make_interaction):
    """The interaction `i`, which says "old" and has been read once."""
    other_storage.save_interaction_sync(make_interaction(interaction_id="i", message="old"))
    return other_storage.get_interaction_sync("i")


@pytest.fixture
def commit_elsewhere(other, start_program):
    """Commits a message to an interaction in another process, and returns when it is done."""
    process = start_program("writer", other.settings_dict["NAME"])
    assert process.stdout.readline() == "ready\n"

    def commit(message, interaction_id="i"):
        process.stdin.write(f"{interaction_id} {message}\n")
        process.stdin.flush()
        assert process.stdout.readline() == "done\n"

    return commit


@pytest.fixture
def reads(other_storage, monkeypatch):
    """The ids that were read from the database, one by one."""
    read_ids, read = [], other_storage.database._read

    def counting(interaction_id):
        read_ids.append(interaction_id)
        return read(interaction_id)

    monkeypatch.setattr(other_storage.database, "_read", counting)
    return read_ids


def message(storage, interaction_id="i"):
    return storage.get_interaction_sync(interaction_id).message


# Hits are served.


def test_the_second_read_is_a_hit(other_storage, stored, reads):
    for _ in range(3):
        assert message(other_storage) == "old"
    assert reads == []  # the fixture's read has filled the cache


@pytest.mark.parametrize("write", ["save_interaction_sync", "create_interaction_sync"])
def test_what_was_written_is_a_hit_already(other_storage, make_interaction, reads, write):
    getattr(other_storage, write)(make_interaction(interaction_id="i"))
    assert other_storage.get_interaction_sync("i") is not None
    assert reads == []


def test_what_was_updated_is_a_hit_already(other_storage, stored, reads):
    other_storage.update_interaction_sync("i", {"response": "arrived"})
    reads.clear()
    assert other_storage.get_interaction_sync("i").response == "arrived"
    assert reads == []


@pytest.fixture
def borrowed(other, monkeypatch):
    """One item for each time that a connection was borrowed."""
    borrowings, borrow = [], Pool.borrow
    monkeypatch.setattr(
        Pool, "borrow", lambda *arguments: borrowings.append(1) or borrow(*arguments)
    )
    return borrowings


def test_a_hit_takes_no_connection_from_the_pool(other_storage, stored, borrowed):
    assert message(other_storage) == "old"
    assert borrowed == []


def test_a_miss_does_take_one(other_storage, stored, borrowed):
    # The control for the test above.
    caches["default"].clear()
    assert message(other_storage) == "old"
    assert borrowed == [1]


def test_threads_share_the_cache(other, other_storage, stored, reads):
    found = []

    def read():
        found.append(message(other_storage))
        connections[other.alias].close()

    thread = threading.Thread(target=read)
    thread.start()
    thread.join()
    assert (found, reads) == (["old"], [])


def test_what_does_not_exist_is_not_cached(other_storage, reads):
    assert other_storage.get_interaction_sync("unknown") is None
    once = len(reads)
    assert other_storage.get_interaction_sync("unknown") is None
    assert len(reads) == 2 * once > 0


def test_an_entry_expires(other, make_interaction, settings, monkeypatch):
    settings.CACHE_TTL = 45
    storage = local_storage(other.alias, caches["default"], configured_archive())
    storage.save_interaction_sync(make_interaction(interaction_id="i"))
    set_with = []
    cache_set = caches["default"].set
    monkeypatch.setattr(
        caches["default"],
        "set",
        lambda *args, **kwargs: set_with.append(args[2]) or cache_set(*args, **kwargs),
    )
    caches["default"].clear()
    storage.get_interaction_sync("i")
    assert set_with == [45]


# Another process commits.


def test_what_another_process_has_committed_is_seen_at_once(
    other_storage, stored, commit_elsewhere
):
    for n in range(50):
        assert message(other_storage) == (f"new-{n - 1}" if n else "old")  # and cached again
        commit_elsewhere(f"new-{n}")
    assert message(other_storage) == "new-49"


def test_without_the_guard_the_old_one_would_be_served(other_storage, stored, commit_elsewhere):
    # The control: the same cache with a version that does not follow the database.
    cache = InMemoryCache(caches["default"], AlwaysTheSame(), 60)
    assert cache.get("i", other_storage.database.read).interaction.message == "old"
    commit_elsewhere("new")
    assert cache.get("i", other_storage.database.read).interaction.message == "old"


class AlwaysTheSame:
    def version(self):
        return "same"

    last_version = version

    def erasures(self):
        return 0


def test_a_commit_of_another_thread_is_seen_at_once(other, other_storage, stored):
    def write():
        ChatInteraction.objects.using(other.alias).filter(pk="i").update(message="new")
        connections[other.alias].close()

    thread = threading.Thread(target=write)
    thread.start()
    thread.join()
    assert message(other_storage) == "new"


def test_a_commit_of_this_thread_past_the_storage_is_seen_at_once(other, other_storage, stored):
    ChatInteraction.objects.using(other.alias).filter(pk="i").update(message="new")
    assert message(other_storage) == "new"


def test_two_storages_on_one_cache_do_not_mislead_each_other(
    other, other_storage, stored, commit_elsewhere
):
    # Each guard counts on its own, so equal numbers must not mean equal versions.
    second = local_storage(other.alias, caches["default"], configured_archive())
    assert message(second) == "old"
    commit_elsewhere("new")
    third = local_storage(other.alias, caches["default"], configured_archive())
    assert [message(storage) for storage in (third, second, other_storage)] == ["new"] * 3


# A commit between reading and filling, step by step.


def test_a_reader_overtaken_by_a_commit_leaves_nothing_stale(
    other_storage, stored, commit_elsewhere
):
    caches["default"].clear()

    def read_and_be_overtaken(interaction_id):
        found = other_storage.database.read(interaction_id)
        commit_elsewhere("new")
        return found

    # This reader began before the commit, so either answer is right for it ...
    overtaken = other_storage.cache.get("i", read_and_be_overtaken)
    assert overtaken.interaction.message == "old"
    # ... but a reader that begins now must see the commit.
    assert message(other_storage) == "new"


def test_a_reader_that_took_the_version_after_it_has_read_would_leave_it_stale(
    other_storage, stored, commit_elsewhere, monkeypatch
):
    # The control: the entry is given the version of the commit that it does not show.
    caches["default"].clear()
    changes = other_storage.database.changes
    version = changes.version

    def read_and_be_overtaken(interaction_id):
        found = other_storage.database.read(interaction_id)
        commit_elsewhere("new")
        return found

    keep = other_storage.cache._keep

    def keep_late(key, entry, clears):
        keep(key, (version(), entry[1]), clears)

    monkeypatch.setattr(other_storage.cache, "_keep", keep_late)
    other_storage.cache.get("i", read_and_be_overtaken)
    assert message(other_storage) == "old"


def test_what_is_read_while_its_user_is_erased_does_not_stay_in_memory(other_storage, stored):
    caches["default"].clear()

    def read_and_be_erased(interaction_id):
        found = other_storage.database.read(interaction_id)
        other_storage.forget_user("ada")
        return found

    other_storage.cache.get("i", read_and_be_erased)
    assert not any(b"old" in entry.json for _, entry in caches["default"]._cache.values())


def save_ours(storage, make_interaction):
    storage.save_interaction_sync(make_interaction(interaction_id="i", message="ours"))


def update_ours(storage, make_interaction):
    storage.update_interaction_sync("i", {"response": "ours"})


@pytest.mark.parametrize("write", [save_ours, update_ours])
def test_a_writer_overtaken_by_a_commit_leaves_nothing_stale(
    other_storage, stored, commit_elsewhere, make_interaction, monkeypatch, write
):
    keep = other_storage.cache.keep_written

    def overtaken(*arguments):
        commit_elsewhere("theirs")
        keep(*arguments)

    monkeypatch.setattr(other_storage.cache, "keep_written", overtaken)
    write(other_storage, make_interaction)
    assert message(other_storage) == "theirs"


@pytest.mark.parametrize("write", [save_ours, update_ours])
def test_a_commit_just_before_a_writers_own_is_seen(
    other_storage, stored, commit_elsewhere, make_interaction, monkeypatch, write
):
    # After the last look at the version, so the writer does not know of it.
    commit = other_storage.database._transaction

    def overtaken(*arguments):
        commit_elsewhere("theirs")
        commit_elsewhere("theirs", "j")
        return commit(*arguments)

    other_storage.save_interaction_sync(make_interaction(interaction_id="j", message="old"))
    assert message(other_storage, "j") == "old"
    monkeypatch.setattr(other_storage.database, "_transaction", overtaken)
    write(other_storage, make_interaction)
    assert message(other_storage) == ("ours" if write is save_ours else "theirs")
    assert message(other_storage, "j") == "theirs"


def test_a_writer_that_did_not_look_would_leave_it_stale(
    other_storage, stored, commit_elsewhere, make_interaction, monkeypatch
):
    # The control: the version right after the commit is taken for the one now.
    save_ours(other_storage, make_interaction)
    version = other_storage.database.changes.committed_as()
    monkeypatch.setattr(other_storage.database.changes, "version", lambda: version)
    commit_elsewhere("theirs")
    assert message(other_storage) == "ours"


@pytest.fixture
def in_one_group(other):
    """Runs functions in threads of their own, whose writes are then committed together."""

    def run(*functions):
        groups = other.pool.writer._groups
        with ThreadPoolExecutor(len(functions)) as executor:
            with other.writing():
                futures = []
                for count, function in enumerate(functions, 1):
                    futures.append(executor.submit(function))
                    while len(groups._waiting) < count:
                        time.sleep(0.001)
            return [future.result(300) for future in futures]

    return run


def test_of_two_writes_in_one_commit_the_first_is_not_served(
    other_storage, stored, make_interaction, in_one_group, reads
):
    cache, kept = other_storage.cache, threading.Event()
    keep = cache.keep_written

    def first_comes_last(interaction, clears):
        if interaction.message == "first":
            kept.wait(300)
        keep(interaction, clears)
        kept.set()

    cache.keep_written = first_comes_last
    before = message(other_storage)
    in_one_group(
        *(
            functools.partial(
                other_storage.save_interaction_sync,
                make_interaction(interaction_id="i", message=text),
            )
            for text in ("first", "second")
        )
    )
    assert (before, message(other_storage)) == ("old", "second")
    assert reads == ["i"]


def test_what_is_deleted_in_the_commit_that_made_it_is_not_served(
    other_storage, stored, make_interaction, in_one_group
):
    created = make_interaction(interaction_id="j")
    _, deleted = in_one_group(
        lambda: other_storage.create_interaction_sync(created),
        lambda: other_storage.delete_interaction_sync("j"),
    )
    assert deleted
    assert other_storage.get_interaction_sync("j") is None


def test_writes_of_one_commit_are_all_hits(
    other_storage, stored, make_interaction, in_one_group, reads
):
    names = ["a", "b", "c"]
    in_one_group(
        *(
            functools.partial(
                other_storage.save_interaction_sync, make_interaction(interaction_id=name)
            )
            for name in names
        )
    )
    assert [other_storage.get_interaction_sync(name).interaction_id for name in names] == names
    assert reads == []


def test_a_commit_before_a_write_is_not_taken_for_part_of_it(
    other_storage, stored, commit_elsewhere, make_interaction
):
    other_storage.save_interaction_sync(make_interaction(interaction_id="j"))
    assert message(other_storage) == "old"
    commit_elsewhere("new")
    other_storage.save_interaction_sync(make_interaction(interaction_id="j", message="another"))
    assert message(other_storage) == "new"


def test_what_this_process_writes_ends_what_was_cached(
    other_storage, stored, reads, make_interaction
):
    # SQLite reads a row as fast: nothing is spent on telling which entries a commit leaves true.
    other_storage.save_interaction_sync(make_interaction(interaction_id="j"))
    assert message(other_storage) == message(other_storage) == "old"
    assert reads == ["i"]


def test_a_busy_writer_and_readers_never_meet_an_old_message(
    other, other_storage, stored, make_interaction
):
    # Many threads, no steps: each reader must see at least what was saved when it began.
    other_storage.save_interaction_sync(make_interaction(interaction_id="i", response="0"))
    saved, stop, failures = [0], threading.Event(), []

    def read():
        while not stop.is_set():
            at_least = saved[0]
            found = other_storage.get_interaction_sync("i").response
            if int(found) < at_least:
                failures.append((found, at_least))
        connections[other.alias].close()

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for n in range(1, 101):
        other_storage.save_interaction_sync(make_interaction(interaction_id="i", response=str(n)))
        saved[0] = n
    stop.set()
    for thread in threads:
        thread.join()
    assert failures == []


def test_an_entry_made_with_the_version_seen_last_is_not_served_after_a_commit_since(
    other_storage, stored, commit_elsewhere, reads
):
    # Without an entry a reader does not ask for the version, so it does not know of this commit.
    assert message(other_storage) == "old"
    caches["default"].clear()
    commit_elsewhere("new")
    assert message(other_storage) == "new"
    commit_elsewhere("newer")
    for _ in range(3):
        assert message(other_storage) == "newer"
    assert reads == ["i"] * 2


def test_a_reader_overtaken_by_a_commit_of_this_process_leaves_nothing_stale(
    other_storage, stored, make_interaction
):
    caches["default"].clear()

    def read_and_be_overtaken(interaction_id):
        found = other_storage.database.read(interaction_id)
        save_ours(other_storage, make_interaction)
        caches["default"].clear()  # what the writer has cached would hide it
        return found

    other_storage.cache.get("i", read_and_be_overtaken)
    assert message(other_storage) == "ours"


# What is not committed.


def test_what_was_rolled_back_is_never_cached(other, other_storage, stored, make_interaction):
    with transaction.atomic(other.alias):
        other_storage.save_interaction_sync(make_interaction(interaction_id="i", message="undone"))
        other_storage.create_interaction_sync(make_interaction(interaction_id="j"))
        other_storage.update_interaction_sync("i", {"response": "undone"})
        assert message(other_storage) == "undone"  # the transaction sees itself
        assert other_storage.get_interaction_sync("j") is not None
        transaction.set_rollback(True, using=other.alias)
    found = other_storage.get_interaction_sync("i")
    assert (found.message, found.response) == ("old", stored.response)
    assert other_storage.get_interaction_sync("j") is None


def test_others_do_not_see_what_is_not_committed(other, other_storage, stored, make_interaction):
    found = []

    def read():
        found.append(message(other_storage))
        connections[other.alias].close()

    with transaction.atomic(other.alias):
        other_storage.save_interaction_sync(make_interaction(interaction_id="i", message="new"))
        message(other_storage)
        thread = threading.Thread(target=read)
        thread.start()
        thread.join()
    assert found == ["old"]
    assert message(other_storage) == "new"


def test_without_autocommit_what_was_rolled_back_is_never_cached(
    other, other_storage, stored, make_interaction
):
    # Django's other way to a transaction: `atomic` is not in use, and yet nothing is committed.
    transaction.set_autocommit(False, using=other.alias)
    other_storage.save_interaction_sync(make_interaction(interaction_id="i", message="undone"))
    message(other_storage)
    transaction.rollback(using=other.alias)
    transaction.set_autocommit(True, using=other.alias)
    assert message(other_storage) == "old"


def test_without_autocommit_others_do_not_see_what_is_not_committed(
    other, other_storage, stored, make_interaction
):
    found = []

    def read():
        found.append(message(other_storage))
        connections[other.alias].close()

    transaction.set_autocommit(False, using=other.alias)
    other_storage.save_interaction_sync(make_interaction(interaction_id="i", message="new"))
    thread = threading.Thread(target=read)
    thread.start()
    thread.join()
    transaction.rollback(using=other.alias)
    transaction.set_autocommit(True, using=other.alias)
    assert found == ["old"]


# Keys.


def test_keys_name_no_user_and_no_id():
    key = interaction_key("ada's secret id")
    assert key.startswith("chat::")
    assert "ada" not in key
    assert key == interaction_key("ada's secret id") != interaction_key("ada's secret Id")
    assert len(key) < 250  # what memcached and Django allow


# What the review of this cache found.


def test_a_version_is_of_the_connection_that_its_number_is_from(
    other_storage, stored, commit_elsewhere
):
    """Before a fork the connection is closed; the next look opens another, which counts anew."""
    other_storage.database.changes.version()
    close_idle_connections()
    commit_elsewhere("new")
    assert message(other_storage) == "new"


def test_while_this_process_commits_reads_go_past_the_cache(other, other_storage, stored, reads):
    # SQLite lets one thread at a time use the connection that tells the version.
    with other.pool.writer._lock:
        assert message(other_storage) == "old"
    assert message(other_storage) == "old"
    assert reads == ["i"]


def test_within_a_transaction_too_the_strings_of_an_erased_user_are_gone(other, other_storage):
    second = local_storage(other.alias, caches["default"], configured_archive())
    key = f"chat:ada:{'0' * 64}"
    other_storage.cache_set_sync(key, "ada's string", 60)
    assert other_storage.cache_get_sync(key) == "ada's string"
    second.cache.erase_user = lambda user_id, _: None  # as in another process: memory is not shared
    second.forget_user("ada")
    with transaction.atomic(other.alias):
        assert other_storage.cache_get_sync(key) is None


def test_a_process_that_reads_nothing_twice_learns_of_an_erasure_too(
    other, other_storage, monkeypatch
):
    """A read of what is not in memory need not ask for the version. After a second it does."""
    second = local_storage(other.alias, caches["default"], configured_archive())
    key = f"chat:ada:{'0' * 64}"
    other_storage.cache_set_sync(key, "ada's string", 60)
    second.cache.erase_user = lambda user_id, _: None  # as in another process
    second.forget_user("ada")
    assert caches["default"].get(string_key(key)) == "ada's string"
    monkeypatch.setattr(in_memory, "LONGEST_WITHOUT_LOOK", 0.0)
    assert other_storage.get_interaction_sync("unknown") is None
    assert caches["default"].get(string_key(key)) is None


def test_a_string_that_is_set_first_within_a_transaction_stays(other, other_storage):
    key = f"chat:ada:{'0' * 64}"
    with transaction.atomic(other.alias):
        other_storage.cache_set_sync(key, "ada's string", 60)
    assert other_storage.cache_get_sync(key) == "ada's string"
