"""The write-ahead log stays within its bound, and keeping it there harms nobody."""

import os
import sqlite3
import threading
import time
from pathlib import Path

import pytest
from django.db import connection

from storage.sqlite import wal
from storage.sqlite.database import WRITES_PER_LOG_CHECK
from tests.sqlite import connect
from tests.storage.sqlite.searched import catch_up

LIMIT = 200_000


def log_size(connection) -> int:
    return Path(f"{connection.settings_dict['NAME']}-wal").stat().st_size


@pytest.fixture
def small_limit(monkeypatch):
    monkeypatch.setattr(wal, "LIMIT", LIMIT)
    monkeypatch.setattr(wal, "WAIT_MS", 100)


@pytest.fixture
def open_reader(other):
    """Another connection, such as one of another process, in the middle of reading."""
    reader = connect(other.settings_dict["NAME"], isolation_level=None, check_same_thread=False)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM storage_chatinteraction").fetchall()
    yield reader
    reader.close()


def write(storage, make_interaction, count, size=10_000):
    for n in range(count):
        storage.save_interaction_sync(
            make_interaction(interaction_id=f"{n % 5}", message="m" * size, response=str(n))
        )


def test_the_log_does_not_grow_past_its_limit(other, other_storage, make_interaction, small_limit):
    sizes = []
    for _ in range(20):
        write(other_storage, make_interaction, WRITES_PER_LOG_CHECK)
        sizes.append(log_size(other))
    # Between two looks at it the log may grow by what is written meanwhile.
    assert max(sizes) < LIMIT + WRITES_PER_LOG_CHECK * 40_000
    assert sizes[-1] < LIMIT


def test_a_log_that_nobody_bounds_does(other, other_storage, make_interaction):
    # The control: the same writes, with a limit that they do not reach.
    write(other_storage, make_interaction, 20 * WRITES_PER_LOG_CHECK)
    assert log_size(other) > LIMIT + WRITES_PER_LOG_CHECK * 40_000


def test_batches_keep_it_bounded_too(other, other_storage, make_interaction, small_limit):
    for _ in range(5):
        other_storage.create_interactions_sync(
            [make_interaction(message="m" * 10_000) for _ in range(40)]
        )
        assert log_size(other) == 0


def test_nothing_is_lost_when_the_log_is_cut(other, other_storage, make_interaction, small_limit):
    write(other_storage, make_interaction, 20 * WRITES_PER_LOG_CHECK)
    assert log_size(other) < LIMIT
    reader = connect(other.settings_dict["NAME"])
    rows = reader.execute("SELECT response FROM storage_chatinteraction").fetchall()
    (intact,) = reader.execute("PRAGMA integrity_check").fetchone()
    reader.close()
    last = 20 * WRITES_PER_LOG_CHECK - 1
    assert sorted(int(response) for (response,) in rows) == list(range(last - 4, last + 1))
    assert intact == "ok"


@pytest.mark.usefixtures("open_reader")
def test_with_a_reader_in_the_way_writes_go_on(other, other_storage, make_interaction, small_limit):
    write(other_storage, make_interaction, 3 * WRITES_PER_LOG_CHECK)
    assert log_size(other) > LIMIT
    assert other_storage.get_interaction_sync("0") is not None


def test_the_log_is_cut_once_the_reader_has_gone(
    other, other_storage, make_interaction, small_limit, open_reader
):
    write(other_storage, make_interaction, 3 * WRITES_PER_LOG_CHECK)
    assert log_size(other) > LIMIT
    open_reader.rollback()
    write(other_storage, make_interaction, WRITES_PER_LOG_CHECK)
    assert log_size(other) < LIMIT


class Recorded:
    """A connection that remembers its statements."""

    def __init__(self, connection):
        self._connection = connection
        self.statements = []

    def execute(self, statement):
        self.statements.append(statement)
        return self._connection.execute(statement)


@pytest.mark.usefixtures("open_reader")
def test_the_writer_waits_no_longer_than_it_should_and_then_is_itself_again(
    other, other_storage, make_interaction, monkeypatch
):
    write(other_storage, make_interaction, 3)
    other.ensure_connection()
    monkeypatch.setattr(wal, "LIMIT", 1)
    monkeypatch.setattr(wal, "WAIT_MS", 300)
    recorded = Recorded(other.connection)
    started = time.monotonic()
    wal.keep_bounded(recorded, other.settings_dict["NAME"], 20_000)
    assert time.monotonic() - started > 0.2
    assert recorded.statements == [
        "PRAGMA busy_timeout = 300",
        "PRAGMA wal_checkpoint(TRUNCATE)",
        "PRAGMA busy_timeout = 20000",
    ]
    assert other.connection.execute("PRAGMA busy_timeout").fetchone() == (20_000,)


def test_a_short_reader_is_waited_for(
    other, other_storage, make_interaction, monkeypatch, open_reader
):
    write(other_storage, make_interaction, 3)
    other.ensure_connection()
    monkeypatch.setattr(wal, "LIMIT", 1)
    monkeypatch.setattr(wal, "WAIT_MS", 10_000)
    timer = threading.Timer(0.2, open_reader.rollback)
    timer.start()
    wal.keep_bounded(other.connection, other.settings_dict["NAME"], 20_000)
    timer.join()
    assert log_size(other) == 0


def test_a_database_without_a_log_is_left_alone(tmp_path):
    database = tmp_path / "plain.sqlite3"
    connection = sqlite3.connect(database, timeout=7)
    connection.execute("CREATE TABLE t (x)")
    wal.keep_bounded(connection, str(database), 20_000)
    assert connection.execute("PRAGMA busy_timeout").fetchone() == (7000,)
    connection.close()


def test_the_size_of_the_search_index_has_its_log(indexed, make_interaction):
    write(indexed, make_interaction, 5)
    catch_up(indexed)
    index = Path(f"{os.path.realpath(connection.settings_dict['NAME'])}.search")
    log = Path(f"{index}-wal").stat().st_size
    assert log > 0
    assert indexed.database.describe()["search index bytes"] == index.stat().st_size + log
