"""The pooled database engine: how many connections, in what state, and none ever lost."""

import asyncio
import contextlib
import os
import random
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, IntegrityError, OperationalError, connections, transaction

from storage.archive.archive import configured_archive
from storage.exceptions import InteractionConflict, StorageUnavailable
from storage.models import ChatInteraction
from storage.records.pages import PageQuery
from storage.sqlite import base, queries
from tests import young

POOLED = 5
GUARD = 1
"""The connection through which all commits of the storage go (`storage.sqlite.writer`)."""


def open_connections(connection) -> int:
    """How often this process has the database's main file open: once for each connection."""
    database = str(Path(connection.settings_dict["NAME"]).resolve())
    count = 0
    for descriptor in os.listdir("/proc/self/fd"):  # noqa: PTH208  # by `pathlib` it costs thrice
        with contextlib.suppress(FileNotFoundError):  # closed in the meantime
            count += os.readlink(f"/proc/self/fd/{descriptor}") == database  # noqa: PTH115
    return count


def pool_of(connection):
    return base._pools[connection.settings_dict["NAME"]]


def in_thread(function, *arguments):
    with ThreadPoolExecutor(1) as executor:
        return executor.submit(function, *arguments).result(timeout=300)


def connect(alias):
    connections[alias].ensure_connection()


def hold_together(alias, count):
    """As many threads hold a connection at the same moment; gives the number open then."""
    all_hold, counted = threading.Barrier(count + 1, timeout=300), threading.Event()

    def hold():
        connect(alias)
        all_hold.wait()
        counted.wait(300)
        connections[alias].close()

    with ThreadPoolExecutor(count) as executor:
        held = [executor.submit(hold) for _ in range(count)]
        all_hold.wait()
        opened = open_connections(connections[alias])
        counted.set()
    assert [future.result() for future in held] == [None] * count
    return opened


def test_32_threads_never_open_more_than_five_connections(other, other_storage, make_interaction):
    alias, most = other.alias, []

    def rollback(n):
        with transaction.atomic(alias):
            ChatInteraction.objects.using(alias).filter(user_id="ada").update(message="undone")
            raise ZeroDivisionError

    def conflict(n):
        other_storage.create_interaction_sync(make_interaction(interaction_id="0", message=str(n)))

    def wrong_sql(n):
        with connections[alias].cursor() as cursor:
            cursor.execute("SELECT * FROM no_such_table")

    def duplicate(n):
        ChatInteraction.objects.using(alias).bulk_create(
            [make_interaction(interaction_id=f"{n}"), make_interaction(interaction_id=f"{n}")]
        )

    operations = [
        lambda n: other_storage.save_interaction_sync(make_interaction(interaction_id=str(n))),
        lambda n: other_storage.get_interaction_sync(str(n)),
        lambda n: other_storage.list_interactions_sync(PageQuery(limit=5)),
        lambda n: other_storage.delete_interaction_sync(str(n)),
        lambda n: list(ChatInteraction.objects.using(alias).all()[:3]),
        rollback,
        conflict,
        wrong_sql,
        duplicate,
    ]
    expected = (ZeroDivisionError, InteractionConflict, OperationalError, IntegrityError)

    def work(seed):
        chosen = random.Random(seed)
        for _ in range(15):
            with contextlib.suppress(*expected):
                chosen.choice(operations)(chosen.randrange(20))
            most.append(open_connections(other))
            connections[alias].close()

    other_storage.save_interaction_sync(make_interaction(interaction_id="0"))
    other.close()
    with ThreadPoolExecutor(32) as executor:
        list(executor.map(work, range(32)))  # raises what a thread has raised
    assert max(most) <= POOLED + GUARD
    assert pool_of(other).lent == 0
    assert not ChatInteraction.objects.using(alias).filter(message="undone").exists()


def test_64_threads_that_never_close_share_five_connections(other, other_storage, make_interaction):
    """As requests do that have saved or read, and now wait for their clients."""
    all_are_done, seen = threading.Barrier(64, timeout=300), []

    def work(n):
        name = str(n)
        other_storage.create_interaction_sync(make_interaction(interaction_id=name))
        assert other_storage.get_json_sync(name) is not None
        other_storage.update_interaction_sync(name, {"response": "r"})
        other_storage.list_interactions_sync(PageQuery(limit=5))
        with pytest.raises(InteractionConflict):
            other_storage.create_interaction_sync(make_interaction(interaction_id=name))
        all_are_done.wait()
        seen.append((pool_of(other).lent, connections[other.alias].connection))

    with ThreadPoolExecutor(64) as executor:
        list(executor.map(work, range(64)))
    assert seen == [(0, None)] * 64
    assert open_connections(other) <= POOLED + GUARD


def test_a_statement_that_a_thread_is_the_first_to_need_holds_no_connection(other, other_storage):
    """Django asks the library for JSON when it makes the SQL, by a connection of the thread."""
    queries.select_json_by_id.cache_clear()

    def read():
        assert other_storage.get_json_sync("unknown") is None
        return pool_of(other).lent, connections[other.alias].connection

    with ThreadPoolExecutor(1) as executor:
        assert executor.submit(read).result() == (0, None)


def test_without_the_pool_every_thread_opens_a_connection_of_its_own(add_database):
    # The control: shows that counting open files would see more than five.
    connection = add_database("poolless", pool=None)
    assert hold_together(connection.alias, 12) == 12


def test_the_pool_gives_out_five_connections_at_once(other):
    assert hold_together(other.alias, POOLED) == POOLED
    assert hold_together(other.alias, POOLED) == POOLED


def test_exceptions_in_transactions_lose_no_connection(other, other_storage, make_interaction):
    def fail():
        with transaction.atomic(other.alias):
            other_storage.save_interaction_sync(make_interaction(interaction_id="i"))
            raise ZeroDivisionError

    for _ in range(3 * POOLED):
        with pytest.raises(ZeroDivisionError):
            fail()
        other.close()
    assert pool_of(other).lent == 0
    assert hold_together(other.alias, POOLED) <= POOLED + GUARD
    assert other_storage.get_interaction_sync("i") is None


def test_a_thread_that_ends_without_closing_gives_its_connection_back(other):
    for _ in range(POOLED + 1):
        with young.collected():  # a thread's connection object is part of a cycle
            in_thread(connect, other.alias)
    assert hold_together(other.alias, POOLED) == POOLED


def cancel_many(storage, make_interaction):
    """500 calls, each given up after a random fraction of 2 ms; gives how many were given up."""

    async def call(n):
        delay = random.Random(n).random() * 0.002
        if n % 2:
            operation = storage.get_interaction(str(n))
        else:
            operation = storage.save_interaction(make_interaction(interaction_id=str(n)))
        await asyncio.wait_for(operation, delay)

    async def run():
        return await asyncio.gather(*[call(n) for n in range(500)], return_exceptions=True)

    results = asyncio.run(run())
    return sum(isinstance(result, TimeoutError) for result in results)


def drain(storage):
    """Wait until the executor is done with calls that nobody awaits any more."""
    storage.runner.executor.shutdown(wait=True)
    storage.runner.executor = ThreadPoolExecutor(POOLED)


def test_500_cancelled_coroutines_lose_no_connection(other, other_storage, make_interaction):
    assert cancel_many(other_storage, make_interaction) > 100
    drain(other_storage)
    assert pool_of(other).lent == 0
    assert hold_together(other.alias, POOLED) <= POOLED + GUARD


def test_a_cancelled_save_leaves_the_storage_working(other, other_storage, make_interaction):
    cancel_many(other_storage, make_interaction)
    asyncio.run(other_storage.save_interaction(make_interaction(interaction_id="after")))
    assert asyncio.run(other_storage.get_interaction("after")) is not None


def test_a_connection_with_an_open_transaction_comes_back_rolled_back(other, make_interaction):
    def leave_open():
        connection = connections[other.alias]
        connection.set_autocommit(False)
        make_interaction(interaction_id="i").save(using=other.alias, force_insert=True)
        assert connection.connection.in_transaction
        connection.close()

    in_thread(leave_open)
    assert pool_of(other).lent == 0
    assert not ChatInteraction.objects.using(other.alias).filter(pk="i").exists()
    assert not other.connection.in_transaction
    # And the lock of the abandoned transaction is gone.
    make_interaction(interaction_id="i").save(using=other.alias, force_insert=True)


def test_autocommit_without_a_rollback_first_would_commit(tmp_path):
    # The control: why the engine rolls back before it sets `isolation_level = None`.
    connection = sqlite3.connect(tmp_path / "control.sqlite3")
    connection.execute("CREATE TABLE t (x)")
    connection.execute("INSERT INTO t VALUES (1)")
    assert connection.in_transaction
    connection.isolation_level = None
    assert not connection.in_transaction
    connection.rollback()
    assert connection.execute("SELECT x FROM t").fetchall() == [(1,)]
    connection.close()


def test_what_a_thread_left_uncommitted_when_it_ended_is_rolled_back(other, make_interaction):
    def end_in_a_transaction():
        connections[other.alias].set_autocommit(False)
        make_interaction(interaction_id="i").save(using=other.alias, force_insert=True)

    with young.collected():  # a thread's connection object is part of a cycle
        in_thread(end_in_a_transaction)
    assert not ChatInteraction.objects.using(other.alias).filter(pk="i").exists()


def test_waiting_for_a_connection_ends_with_an_error_that_says_what_to_do(add_database):
    connection = add_database("small", pool={"max_size": 1, "timeout": 0.1})
    connection.ensure_connection()
    with pytest.raises(OperationalError, match=r"All 1 pooled connections .* max_size"):
        in_thread(connect, "small")
    connection.close()
    in_thread(connect, "small")


def test_a_full_pool_makes_the_storage_unavailable(add_database, make_interaction):
    from django.core.cache import caches

    from storage.startup.selection import local_storage

    connection = add_database("small", pool={"max_size": 1, "timeout": 0.1})
    storage = local_storage("small", caches["default"], configured_archive())
    connection.ensure_connection()  # this thread has the only one
    for call in (
        lambda: storage.get_interaction("i"),
        lambda: storage.get_user_interactions("ada", 5),
        lambda: storage.list_interactions(PageQuery()),
    ):
        with pytest.raises(StorageUnavailable) as failure:
            asyncio.run(run(call))
        assert isinstance(failure.value.__cause__, DatabaseError)
    # What is committed has a connection of its own.
    asyncio.run(run(lambda: storage.save_interaction(make_interaction(interaction_id="j"))))
    connection.close()
    assert asyncio.run(run(lambda: storage.get_interaction("i"))) is None
    storage.runner.executor.shutdown()


async def run(call):
    return await call()


def test_persistent_connections_and_the_pool_exclude_each_other(add_database):
    connection = add_database("persistent", tables=False, conn_max_age=60)
    with pytest.raises(ImproperlyConfigured, match="CONN_MAX_AGE = 0"):
        connection.ensure_connection()


def test_an_in_memory_database_bypasses_the_pool(add_database, make_interaction):
    connection = add_database("memory", name=":memory:")
    make_interaction(interaction_id="i").save(using="memory", force_insert=True)
    # Django ignores `close` for such a database: it would be gone with its connection.
    connection.close()
    assert ChatInteraction.objects.using("memory").count() == 1
    assert ":memory:" not in base._pools


def test_the_settings_are_in_force_on_every_pooled_connection(other):
    expected = {
        "journal_mode": "wal",
        "synchronous": 2,  # FULL
        "secure_delete": 1,
        "foreign_keys": 1,
        "busy_timeout": 20_000,  # milliseconds
        "wal_autocheckpoint": 4000,  # pages
    }
    all_hold = threading.Barrier(POOLED, timeout=300)

    def read():
        connection = connections[other.alias]
        with connection.cursor() as cursor:
            found = {name: cursor.execute(f"PRAGMA {name}").fetchone()[0] for name in expected}
        all_hold.wait()  # so that each thread has another connection
        used = id(connection.connection)
        connection.close()
        return used, found

    for _ in range(2):  # the second time from the pool
        with ThreadPoolExecutor(POOLED) as executor:
            found = [future.result() for future in [executor.submit(read) for _ in range(POOLED)]]
        assert len({used for used, _ in found}) == POOLED
        assert [settings for _, settings in found] == [expected] * POOLED


def test_transactions_begin_immediately(other):
    # So that a transaction that reads first cannot fail for want of the lock later on.
    with transaction.atomic(other.alias):
        competitor = sqlite3.connect(other.settings_dict["NAME"], timeout=0)
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            competitor.execute("BEGIN IMMEDIATE")
        competitor.close()
