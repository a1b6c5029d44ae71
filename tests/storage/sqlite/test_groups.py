"""Writers that share a commit: acknowledged after it, and each takes back only itself."""

import asyncio
import functools
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager

import pytest
from django.db import OperationalError, connections

from storage.exceptions import InteractionConflict, StorageFull, StorageUnavailable
from storage.models.idempotency import Idempotency
from storage.records.outcomes import Outcome
from storage.sqlite.statements import Statements
from tests.sqlite import connect
from tests.storage.sqlite.writers import PATIENT


def until(condition):
    while not condition():
        time.sleep(0.001)  # the test's time-out ends it


class Group:
    """Lets threads line up, so that what they write is committed together."""

    def __init__(self, connection):
        self.connection = connection
        self.groups = connection.pool.writer._groups
        self.commits = 0

    def run(self, *functions):
        """The result of each, or the error that it has raised."""
        self.connection.pool.writer.close()  # the next connection is traced
        self.commits = 0
        with ThreadPoolExecutor(len(functions)) as executor:
            with self.connection.writing():  # it is this thread's turn
                futures = []
                for count, function in enumerate(functions, 1):
                    futures.append(executor.submit(function))
                    until(lambda: len(self.groups._waiting) == count)  # noqa: B023
            return [future.exception(PATIENT) or future.result() for future in futures]


@pytest.fixture
def group(patient, patient_storage, monkeypatch):
    made = Group(patient)
    opened = type(patient).open

    def traced(wrapper):
        connection = opened(wrapper)

        def count(sql):
            made.commits += sql == "COMMIT"

        connection.set_trace_callback(count)
        return connection

    monkeypatch.setattr(type(patient), "open", traced)
    return made


@pytest.fixture
def create(patient_storage, make_interaction):
    """A call that creates an interaction with this id."""

    def call(name, **fields):
        new = make_interaction(interaction_id=name, **fields)
        return functools.partial(patient_storage.create_interaction_sync, new)

    return call


def test_writers_that_come_together_share_a_commit(
    patient, patient_storage, make_interaction, group, create
):
    create("u")()
    create("d")()
    done = group.run(
        *(create(str(n)) for n in range(10)),
        lambda: patient_storage.create_interactions_sync([make_interaction(), make_interaction()]),
        lambda: patient_storage.update_interaction_sync("u", {"response": "arrived"}),
        lambda: patient_storage.delete_interaction_sync("d"),
        lambda: patient_storage.create_interaction_sync(make_interaction(), Idempotency("k", "r")),
    )
    assert group.commits == 1
    assert [created for _, created in done[:10]] == [True] * 10
    assert done[10] == [Outcome.CREATED] * 2
    assert done[11].response == "arrived"
    assert done[12]
    assert done[13][1]
    other = connect(patient.settings_dict["NAME"])
    assert other.execute("SELECT count(*) FROM storage_chatinteraction").fetchone() == (14,)
    other.close()


def test_one_that_fails_takes_back_itself_alone(patient_storage, make_interaction, group, create):
    create("taken")()
    batch = [make_interaction(interaction_id=name) for name in ("new", "taken")]
    batch[1].message = "another"

    def fails_after_a_write():
        patient_storage.database.update("taken", {"response": "undone"}, None, division)

    first, conflict, outcomes, error, last = group.run(
        create("first"),
        create("taken", message="another"),
        lambda: patient_storage.create_interactions_sync(batch),
        fails_after_a_write,
        create("last"),
    )
    assert first[1]
    assert last[1]
    assert isinstance(conflict, InteractionConflict)
    assert outcomes == [Outcome.CREATED, Outcome.CONFLICT]
    assert isinstance(error, ZeroDivisionError)
    assert patient_storage.get_interaction_sync("taken").response != "undone"
    assert patient_storage.get_interaction_sync("new") is not None
    assert group.commits == 2  # that batch is tried as one statement first


def test_what_was_written_before_an_error_is_taken_back(patient, patient_storage, group, create):
    statements = Statements(patient.alias)

    def write_and_fail():
        def work():
            statements.rows("DELETE FROM storage_chatinteraction", {})
            raise ZeroDivisionError

        statements.transaction(work)

    create("kept")()
    done = group.run(create("a"), write_and_fail, create("b"))
    assert isinstance(done[1], ZeroDivisionError)
    for name in ("kept", "a", "b"):
        assert patient_storage.get_interaction_sync(name) is not None


@pytest.fixture
def small_disk(patient, group, create):
    """A block in which the file may grow by three pages only."""

    @contextmanager
    def block():
        group.run(create("first"))
        (pages,) = Statements(patient.alias).rows("PRAGMA page_count", {})[0]
        group.connection.pool.writer.close()
        opened = type(patient).open

        def small(wrapper):
            connection = opened(wrapper)
            connection.execute(f"PRAGMA max_page_count = {pages + 3}")
            return connection

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(type(patient), "open", small)
            yield

    return block


def test_a_disk_too_full_for_one_has_room_for_the_others(
    patient_storage, group, create, small_disk
):
    with small_disk():
        done = group.run(create("a"), create("large", message="m" * 120_000), create("b"))
    assert isinstance(done[1], StorageFull)
    for name in ("a", "b"):
        assert patient_storage.get_interaction_sync(name) is not None
    assert patient_storage.get_interaction_sync("large") is None


def division(interaction=None):
    raise ZeroDivisionError


@pytest.mark.parametrize(
    ("beside", "tries"),
    [("nothing", 1), ("one that fails", 2), ("one too large for the disk", 3)],
)
def test_nobody_else_writes_within_a_change(
    patient, patient_storage, group, create, small_disk, beside, tries
):
    database, found = patient_storage.database, []
    create("read")()

    def write_meanwhile(interaction):
        other = connect(patient.settings_dict["NAME"], timeout=0, isolation_level=None)
        with closing(other), pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("UPDATE storage_chatinteraction SET response = 'of another'")
        found.append("locked")

    def change():
        return database.update("read", {"response": "changed"}, None, write_meanwhile)

    others = {
        "nothing": [],
        "one that fails": [lambda: database.update("read", {}, None, division)],
        "one too large for the disk": [create("large", message="m" * 120_000)],
    }[beside]
    with small_disk():
        changed, *failed = group.run(change, *others)
    assert changed.response == "changed"
    assert found == ["locked"] * tries
    assert all(isinstance(error, ZeroDivisionError | StorageFull) for error in failed)


def test_nobody_is_told_before_the_commit(patient, group, create):
    told, at_commit = [], []
    opened = type(patient).open

    def traced(wrapper):
        connection = opened(wrapper)
        connection.set_trace_callback(
            lambda sql: at_commit.append(list(told)) if sql == "COMMIT" else None
        )
        return connection

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(patient), "open", traced)
        group.run(*(lambda n=n: (create(str(n))(), told.append(n)) for n in range(5)))
    assert at_commit == [[]]
    assert sorted(told) == [0, 1, 2, 3, 4]


def test_a_commit_that_fails_fails_all_and_leaves_nothing(patient, patient_storage, group, create):
    class Broken:
        """As on a disk that does not accept what is written."""

        def __init__(self, connection):
            self._connection = connection

        def __getattr__(self, name):
            return getattr(self._connection, name)

        def execute(self, sql, *arguments):
            if sql == "COMMIT":
                raise sqlite3.OperationalError("disk I/O error")
            return self._connection.execute(sql, *arguments)

    opened = type(patient).open
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(patient), "open", lambda wrapper: Broken(opened(wrapper)))
        done = group.run(create("a"), create("b"), create("c"))
    group.connection.pool.writer.close()
    assert [str(error) for error in done] == ["The database failed: disk I/O error."] * 3
    assert [type(error) for error in done] == [StorageUnavailable] * 3
    assert patient_storage.get_interaction_sync("a") is None
    create("a")()


def test_a_leader_that_is_interrupted_leaves_the_others_to_the_next(
    patient_storage, make_interaction, group, create
):
    def interrupted():
        def interrupt(interaction):
            raise KeyboardInterrupt

        patient_storage.database.update("u", {"response": "undone"}, None, interrupt)

    create("u")()
    leader, *others = group.run(interrupted, *(create(str(n)) for n in range(5)))
    assert isinstance(leader, KeyboardInterrupt)
    assert [created for _, created in others] == [True] * 5
    assert patient_storage.get_interaction_sync("u").response != "undone"


def test_an_interrupted_follower_interrupts_nobody_else_for_good(
    patient_storage, make_interaction, group, create
):
    # Its interrupt comes in the leader's thread, which then cannot go on.
    def interrupted():
        def interrupt(interaction):
            if threading.current_thread() is not own:
                raise KeyboardInterrupt

        own = threading.current_thread()
        patient_storage.database.update("u", {"response": "new"}, None, interrupt)

    create("u")()
    leader, follower, other = group.run(create("a"), interrupted, create("b"))
    assert isinstance(leader, KeyboardInterrupt)
    assert follower is None
    assert other[1]
    assert patient_storage.get_interaction_sync("a") is None
    assert patient_storage.get_interaction_sync("u").response == "new"


def test_every_follower_has_its_own_time(add_database, make_interaction):
    connection = add_database("hasty", timeout=0.2)
    statements = Statements("hasty")
    statements.transaction(lambda: None)

    def write():
        statements.transaction(lambda: None)

    with ThreadPoolExecutor(6) as executor, connection.writing():
        futures = [executor.submit(write) for _ in range(6)]
        for future in futures:
            with pytest.raises(OperationalError, match=r"locked: other writers took 0\.2 s"):
                future.result(PATIENT)
    assert not connection.pool.writer._groups._waiting
    write()


def test_a_program_that_has_the_lock_delays_each_for_its_own_time(add_database):
    connection = add_database("hasty", timeout=0.2)
    statements = Statements("hasty")
    program = connect(connection.settings_dict["NAME"], isolation_level=None)
    program.execute("BEGIN IMMEDIATE")
    with ThreadPoolExecutor(6) as executor:
        futures = [executor.submit(statements.transaction, lambda: None) for _ in range(6)]
        for future in futures:
            with pytest.raises(OperationalError, match="locked"):
                future.result(PATIENT)
    program.execute("COMMIT")
    program.close()
    statements.transaction(lambda: None)
    timeout = statements.transaction(lambda: statements.rows("PRAGMA busy_timeout", {}))
    assert timeout == [(200,)]


def test_cancelled_coroutines_leave_the_others_and_nothing_half_written(
    patient, patient_storage, make_interaction
):
    async def run():
        with patient.writing():  # so that all of them wait
            calls = [
                asyncio.create_task(
                    patient_storage.create_interaction(make_interaction(interaction_id=str(n)))
                )
                for n in range(8)
            ]
            await asyncio.sleep(0.05)
            for call in calls[::2]:
                call.cancel()
        return await asyncio.gather(*calls, return_exceptions=True)

    done = asyncio.run(run())
    patient_storage.runner.executor.shutdown(wait=True)
    assert [isinstance(one, asyncio.CancelledError) for one in done] == [True, False] * 4
    for n in range(1, 8, 2):
        assert patient_storage.get_interaction_sync(str(n)) is not None
    assert not patient.pool.writer._groups._waiting
    assert patient.pool.lent == (patient.connection is not None)


def test_threads_that_write_and_give_up_lose_and_double_nothing(patient, patient_storage, create):
    acknowledged, refused = [], []

    def work(n):
        for k in range(20):
            name = f"{n}-{k // 2}"  # each id twice: a repeat changes nothing
            try:
                create(name, message="other" if k % 5 == 4 else "m")()
                acknowledged.append(name)
            except InteractionConflict:
                refused.append(name)
        connections[patient.alias].close()

    with ThreadPoolExecutor(16) as executor:
        list(executor.map(work, range(16)))
    other = connect(patient.settings_dict["NAME"])
    stored = [
        name for (name,) in other.execute("SELECT interaction_id FROM storage_chatinteraction")
    ]
    other.close()
    assert sorted(stored) == sorted(set(acknowledged))
    assert refused
