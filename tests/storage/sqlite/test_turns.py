"""Writers of a process take turns: while they wait, reads go on, and nothing is lost."""

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
from django.db import OperationalError, connections, transaction

from storage.models import ChatInteraction
from storage.records.pages import PageQuery
from storage.sqlite import base, turns
from tests import young
from tests.sqlite import connect
from tests.storage.sqlite.writers import PATIENT, closing, writes


@pytest.fixture
def other_program(patient):
    """Has SQLite's write lock, as a database browser with an open change has."""
    program = connect(patient.settings_dict["NAME"], isolation_level=None)
    program.execute("BEGIN IMMEDIATE")
    yield program
    program.close()


def line_of(connection):
    return turns._lines[connection.settings_dict["NAME"]]


def group_of(connection):
    return connection.pool.writer._groups._waiting


def until(condition):
    while not condition():
        time.sleep(0.005)  # the test's time-out ends it


def test_reads_go_on_while_another_program_has_the_lock(
    patient, patient_storage, make_interaction, other_program
):
    alias, storage = patient.alias, patient_storage
    kinds = writes(storage, alias, make_interaction)
    names = [f"{kind}-{n}" for kind in range(len(kinds)) for n in range(3)]
    with ThreadPoolExecutor(len(names)) as executor:
        written = [executor.submit(closing(alias, kinds[int(name[0])]), name) for name in names]
        # 30 s later a read would be refused, if waiting writers had the whole pool.
        assert closing(alias, storage.get_interaction_sync)("0-0") is None
        # The leader of the group waits in both.
        until(lambda: len(line_of(patient)) + len(group_of(patient)) == len(names) + 1)
        until(lambda: patient.pool.lent <= 1)
        for _ in range(20):
            assert closing(alias, storage.list_interactions_sync)(PageQuery()).interactions == []
        storage.check_available_sync()
        patient.close()
        other_program.execute("COMMIT")
        for future in written:
            future.result(PATIENT)
    assert not line_of(patient)
    found = ChatInteraction.objects.using(alias).values_list("pk", flat=True)
    assert sorted(found) == sorted(names)


def lent_after_a_moment(connection, at_most):
    """How many pooled connections are in use, once there are no more than that; or after 5 s."""
    for _ in range(1000):
        if connection.pool.lent <= at_most:
            break
        time.sleep(0.005)
    return connection.pool.lent


@pytest.mark.parametrize("by", ["another program", "another thread"])
def test_who_waits_gives_back_the_connection_of_what_it_has_read(
    patient, patient_storage, make_interaction, request, by
):
    """As a thread has one that has looked up a session: Django's cursors keep it for a request."""

    def read_and_write(name):
        assert not ChatInteraction.objects.using(patient.alias).exists()
        assert connections[patient.alias].connection is not None
        patient_storage.create_interaction_sync(make_interaction(interaction_id=name))

    with ExitStack() as blocked, ThreadPoolExecutor(4) as executor:
        if by == "another program":
            program = request.getfixturevalue("other_program")
            blocked.callback(program.execute, "COMMIT")
        else:
            blocked.enter_context(patient.writing())
        leads = int(by == "another program")  # it is at the head of the line, and waits with it
        at_most = patient.pool.lent + leads
        write = closing(patient.alias, read_and_write)
        written = [executor.submit(write, name) for name in "abcd"]
        until(lambda: len(group_of(patient)) == 4)
        lent = lent_after_a_moment(patient, at_most)
        blocked.close()
        for future in written:
            future.result(PATIENT)
    assert lent <= at_most


def test_a_writer_gets_an_error_when_its_turn_does_not_come(add_database, make_interaction):
    connection = add_database("hasty", timeout=0.05)

    def write():
        make_interaction().save(using="hasty", force_insert=True)

    with transaction.atomic("hasty"), ThreadPoolExecutor(1) as executor:
        with pytest.raises(OperationalError, match=r"locked: other writers took 0.05 s"):
            executor.submit(closing("hasty", write)).result(PATIENT)
        assert len(line_of(connection)) == 1
    assert not line_of(connection)
    write()


def test_every_waiting_writer_ends_within_its_own_time(add_database, make_interaction, monkeypatch):
    connection = add_database("hasty", timeout=0.2)
    program = connect(connection.settings_dict["NAME"], isolation_level=None)
    program.execute("BEGIN IMMEDIATE")

    def write(_):
        make_interaction().save(using="hasty", force_insert=True)

    with ThreadPoolExecutor(6) as executor:
        futures = [executor.submit(closing("hasty", write), n) for n in range(6)]
        for future in futures:
            with pytest.raises(OperationalError, match="locked"):
                future.result(PATIENT)
    program.execute("COMMIT")
    write(None)
    assert connection.connection.execute("PRAGMA busy_timeout").fetchone() == (200,)
    program.close()


def test_time_in_line_counts(patient, make_interaction, monkeypatch):
    # A writer that has waited 299 s for its turn waits one second more for other processes.
    moments = iter([0.0, PATIENT - 1.0])
    program = connect(patient.settings_dict["NAME"], isolation_level=None)
    granted = []

    def write():
        connection = connections[patient.alias]
        set_timeout = connection._set_busy_timeout
        monkeypatch.setattr(
            connection, "_set_busy_timeout", lambda s: (granted.append(s), set_timeout(0 * s))
        )
        make_interaction().save(using=patient.alias, force_insert=True)

    class Clock:
        @staticmethod
        def monotonic():
            return next(moments)

    monkeypatch.setattr(base, "time", Clock)
    with ThreadPoolExecutor(1) as executor:
        with patient.writing():
            future = executor.submit(closing(patient.alias, write))
            until(lambda: len(line_of(patient)) == 2)
            program.execute("BEGIN IMMEDIATE")
        with pytest.raises(OperationalError, match="database is locked"):
            future.result(PATIENT)
    assert granted == [1.0, PATIENT]
    program.close()


def test_first_come_first_served(patient, make_interaction):
    order = []

    def write(n):
        with transaction.atomic(patient.alias):
            order.append(n)

    with ThreadPoolExecutor(8) as executor, transaction.atomic(patient.alias):
        for n in range(8):
            executor.submit(closing(patient.alias, write), n)
            until(lambda: len(line_of(patient)) == n + 2)  # noqa: B023  (called at once)
    assert order == list(range(8))


def test_a_transaction_that_fails_ends_its_turn(patient, make_interaction):
    def fail():
        with transaction.atomic(patient.alias):
            make_interaction().save(using=patient.alias, force_insert=True)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert not line_of(patient)


def test_a_closed_connection_ends_its_turn(patient):
    patient.set_autocommit(False)
    patient.cursor().execute("BEGIN IMMEDIATE")
    assert len(line_of(patient)) == 1
    patient.close()
    assert not line_of(patient)


def test_a_thread_that_ends_in_a_transaction_ends_its_turn(patient, make_interaction):
    def end_in_a_transaction():
        connections[patient.alias].set_autocommit(False)
        make_interaction().save(using=patient.alias, force_insert=True)

    # A thread's connection object is part of a cycle.
    with young.collected(), ThreadPoolExecutor(1) as executor:
        executor.submit(end_in_a_transaction).result(PATIENT)
    assert not line_of(patient)
    make_interaction().save(using=patient.alias, force_insert=True)


def test_giving_up_a_place_in_the_line_wakes_the_next(tmp_path):
    file = str(tmp_path / "x")
    first, second, third = (turns.turn(file) for _ in range(3))
    second.end()
    assert not third.come(0)
    first.end()
    assert third.come(0)
    first.end()
    third.end()
    assert turns.turn(file).come(0)


def test_many_threads_never_write_at_once_and_none_is_forgotten(tmp_path):
    file, writing, done = str(tmp_path / "x"), [], []

    def work(n):
        for k in range(200):
            turn = turns.turn(file)
            if turn.come(0.0001 * (k % 3) if n % 2 else PATIENT):
                writing.append(n)
                assert writing == [n]
                writing.pop()
                done.append(n)
            turn.end()

    with ThreadPoolExecutor(8) as executor:
        list(executor.map(work, range(8)))
    assert [done.count(n) for n in range(0, 8, 2)] == [200] * 4
    assert not turns._lines[file]
