"""One process writes at a time: with many workers, and where SQLite has the WAL-reset bug."""

import fcntl
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from django.db import OperationalError, transaction

from storage.models import ChatInteraction
from storage.sqlite import base, in_use, scrubbing, wal, write_lock
from tests.forks import fork, in_fork
from tests.storage.sqlite.writers import PATIENT, closing, writes

READS = ("SELECT", "PRAGMA", "BEGIN", "COMMIT", "SAVEPOINT", "RELEASE", "--")
"""How statements begin that write nothing, unless a transaction has begun that writes."""

CHECKPOINTS = ("wal_checkpoint", "incremental_vacuum")


@pytest.fixture(autouse=True, params=["an affected library", "many workers"])
def _one_at_a_time(request, monkeypatch, settings):
    if request.param == "many workers":
        monkeypatch.setattr(write_lock, "NEEDED", False)
        settings.WORKERS = write_lock.MANY_WORKERS
    else:
        monkeypatch.setattr(write_lock, "NEEDED", True)
    yield
    write_lock.forget()


@contextmanager
def lock_of(connection):
    """The lock file, as another process has it open."""
    path = f"{connection.settings_dict['NAME']}{write_lock.SUFFIX}"
    descriptor = os.open(path, os.O_RDONLY | os.O_CREAT, 0o600)
    yield descriptor
    os.close(descriptor)


def is_free(descriptor):
    free = in_use.locked(descriptor, fcntl.LOCK_EX)
    if free:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    return free


def test_every_write_waits_for_another_process_and_reads_go_on(
    patient, patient_storage, make_interaction
):
    alias = patient.alias
    kinds = writes(patient_storage, alias, make_interaction)
    names = [str(n) for n in range(len(kinds))]
    with lock_of(patient) as lock, ThreadPoolExecutor(len(names)) as executor:
        fcntl.flock(lock, fcntl.LOCK_EX)
        written = [executor.submit(closing(alias, kinds[int(name)]), name) for name in names]
        for _ in range(20):
            assert closing(alias, patient_storage.get_interaction_sync)("0") is None
        assert not any(future.done() for future in written)
        fcntl.flock(lock, fcntl.LOCK_UN)
        for future in written:
            future.result(PATIENT)
        assert is_free(lock)
    assert ChatInteraction.objects.using(alias).count() == len(names)


def test_a_writer_gets_an_error_when_it_waits_too_long(add_database, make_interaction):
    connection = add_database("hasty", timeout=0.05)
    with lock_of(connection) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(OperationalError, match=r"locked: other writers took 0\.05 s"):
            make_interaction().save(using="hasty", force_insert=True)
        fcntl.flock(lock, fcntl.LOCK_UN)
        make_interaction().save(using="hasty", force_insert=True)


def test_the_lock_of_a_process_that_is_killed_is_free(patient):
    name = patient.settings_dict["NAME"]
    readable, writable = os.pipe()

    def take():
        write_lock.take(name, PATIENT)
        os.write(writable, b"taken")
        signal.pause()

    child = fork(take)
    assert os.read(readable, 5) == b"taken"
    with lock_of(patient) as lock:
        assert not is_free(lock)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        assert is_free(lock)
    os.close(readable)
    os.close(writable)


def test_with_few_workers_none_takes_the_lock(
    add_database, make_interaction, monkeypatch, settings
):
    monkeypatch.setattr(write_lock, "NEEDED", False)
    settings.WORKERS = write_lock.MANY_WORKERS - 1
    connection = add_database("alone")
    make_interaction().save(using="alone", force_insert=True)
    assert not Path(f"{connection.settings_dict['NAME']}{write_lock.SUFFIX}").exists()


def test_whatever_writes_or_checkpoints_holds_the_lock(
    patient, patient_storage, make_interaction, monkeypatch
):
    """The statements that SQLite runs on every connection, and whether the lock was free then."""
    seen, connections_made = [], []

    with lock_of(patient) as lock:

        def traced(connection):
            name = len(connections_made)
            connections_made.append(connection)
            connection.set_trace_callback(lambda sql: seen.append((name, sql, is_free(lock))))
            return connection

        base.close_pool(patient.settings_dict["NAME"])
        original = base.base.DatabaseWrapper.get_new_connection
        monkeypatch.setattr(
            base.base.DatabaseWrapper,
            "get_new_connection",
            lambda self, parameters: traced(original(self, parameters)),
        )
        connect = scrubbing._connect
        monkeypatch.setattr(scrubbing, "_connect", lambda file: traced(connect(file)))
        monkeypatch.setattr(wal, "LIMIT", 1)
        database = patient_storage.database
        for n, write in enumerate(writes(patient_storage, patient.alias, make_interaction)):
            write(str(n))
        database.update("0", {"response": "new"}, None, lambda interaction: None)
        database.delete("0", None)
        database.move_to_cold([database.read("1")], "2026-01-01/x")
        database.forget_user("ada")
        for _ in range(20):
            database.save(make_interaction(interaction_id="s"))
        database.scrub()
        database.reclaim()
        with pytest.raises(ZeroDivisionError), transaction.atomic(patient.alias):
            raise ZeroDivisionError
        patient.close()
        assert is_free(lock)

    statements = {sql.split()[0].upper() for _, sql, _ in seen}
    assert {"INSERT", "UPDATE", "DELETE", "BEGIN", "COMMIT", "ROLLBACK"} <= statements
    assert any("wal_checkpoint" in sql for _, sql, _ in seen)
    assert list(without_the_lock(seen)) == []


def without_the_lock(seen):
    """The statements that write, or end a transaction that may have written, without the lock."""
    writing = {}
    for connection, sql, was_free in seen:
        if sql.startswith("BEGIN"):
            writing[connection] = "IMMEDIATE" in sql
        writes = not sql.upper().startswith(READS) or any(word in sql for word in CHECKPOINTS)
        if was_free and (writes or writing.get(connection)):
            yield sql
        if sql.startswith(("COMMIT", "ROLLBACK")):
            writing[connection] = False


def test_a_forked_child_leaves_its_parents_lock_alone(patient, monkeypatch):
    # Python takes the parent's threads apart before it tells anyone of the fork.
    monkeypatch.setattr(write_lock, "forget", lambda: None)
    with lock_of(patient) as lock, patient.writing():
        in_fork(patient._turn.end)
        assert not is_free(lock)
    monkeypatch.undo()
