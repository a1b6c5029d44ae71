"""Snapshots while four processes write, each restored: whole, and with all acknowledged before.

BACKUP_ROUNDS=100 python -m pytest -s tests/storage/backups/test_writers.py
"""

import shutil
import sqlite3
import time
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from storage.backups import inspection, replacing, snapshot
from storage.backups.folder import BackupFolder
from storage.backups.inspection import NotIntact
from storage.sqlite import in_use
from tests import switches
from tests.chat import fork_server
from tests.chat.processes import environment, give_tables
from tests.servers import wait_for
from tests.sqlite import connect
from tests.storage.backups.conftest import KEEP

ROUNDS = switches.number("BACKUP_ROUNDS")
WRITERS = 4
DELETED = "deleted"

pytestmark = pytest.mark.timeout(120 + 20 * ROUNDS)


class Writers:
    """Processes that write the database in `folder`."""

    def __init__(self, folder):
        self.database = folder / "data.sqlite3"
        self._files = [folder / f"acknowledged-{number}" for number in range(WRITERS)]
        give_tables(folder)
        self._processes = [
            fork_server.Popen(
                ["-m", "tests.storage.backups.writer", number, file],
                environment(folder),
                preloaded=True,
            )
            for number, file in enumerate(self._files)
        ]

    def wait(self):
        """Until all have written some rows."""
        wait_for(self._have_written, "the first rows of each")

    def _have_written(self):
        self.check()
        return all(file.exists() and file.stat().st_size > 2000 for file in self._files)

    def check(self):
        assert [process.poll() for process in self._processes] == [None] * WRITERS

    def acknowledged(self):
        """The number that was last acknowledged for each id, or that it was deleted."""
        lines = [
            line.split()
            for file in self._files
            for line in file.read_text().splitlines(keepends=True)
            if line.endswith("\n")
        ]
        return dict(lines)

    def stop(self):
        for process in self._processes:
            process.terminate()
            process.wait()


@pytest.fixture(scope="module")
def writers(tmp_path_factory):
    made = Writers(tmp_path_factory.mktemp("writers"))
    try:
        made.wait()
        yield made
    finally:
        made.stop()


def numbers(database):
    """What is stored: the number of each id."""
    with closing(connect(database)) as connection:
        sql = "SELECT interaction_id, output_tokens FROM storage_chatinteraction"
        return dict(connection.execute(sql))


def lost(acknowledged, stored):
    """What was acknowledged, and is not there or older; and what is there although deleted."""
    found = []
    for interaction_id, number in acknowledged.items():
        if number == DELETED:
            found += [interaction_id] if interaction_id in stored else []
        elif "." not in interaction_id and stored.get(interaction_id, -1) < int(number):
            found.append(interaction_id)
    return found


@pytest.fixture
def connections(monkeypatch):
    """The connections that a snapshot has opened, its reader first."""
    opened: list[sqlite3.Connection] = []

    @contextmanager
    def connected(*arguments, **options):
        with inspection.connected(*arguments, **options) as connection:
            opened.append(connection)
            yield connection

    monkeypatch.setattr(snapshot, "connected", connected)
    return opened


def rows(connection):
    """All that is in a database, table by table."""
    tables = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
    names = sorted(name for (name,) in tables)
    return {name: sorted(connection.execute(f'SELECT * FROM "{name}"')) for name in names}


def rows_of(path):
    with closing(connect(path)) as connection:
        return rows(connection)


def restored(backups, backup, folder):
    """The backup in the place of another database."""
    database = Path(folder) / "restored.sqlite3"
    replacing.replace(database, backups, backup, lambda alias: None, keep_old=False)
    return database


def test_every_snapshot_is_whole_and_has_all_that_was_acknowledged(tmp_path, writers):
    backups = BackupFolder(tmp_path / "backups", KEEP)
    rows = seconds = 0
    for _ in range(ROUNDS):
        acknowledged = writers.acknowledged()
        start = time.monotonic()
        backup = backups.take(writers.database, datetime.now(UTC)).backup
        seconds = max(seconds, time.monotonic() - start)
        database = restored(backups, backup, tmp_path)
        inspection.check(database)
        stored = numbers(database)
        assert lost(acknowledged, stored) == []
        assert backup.content.tables["storage_chatinteraction"] == len(stored)
        rows += len(acknowledged)
        time.sleep(0.1)
    writers.check()
    in_use.release(str(writers.database))
    written = sum(int(number) for number in numbers(writers.database).values())
    print(
        f"{ROUNDS} snapshots under {WRITERS} writers, all whole; {rows:,} acknowledged rows looked "
        f"for, 0 lost; the longest took {seconds:.2f} s; highest numbers {written:,}."
    )


def test_a_pinned_file_is_what_a_copy_by_sqlite_is(tmp_path, writers, connections):
    """The copy is made in the same transaction that pins the file."""
    for number in range(ROUNDS):
        connections.clear()
        with snapshot.pinned(writers.database) as length:
            file, copy = tmp_path / f"{number}.file", tmp_path / f"{number}.copy"
            file.write_bytes(b"".join(snapshot.read(writers.database, length, 1 << 20)))
            with closing(connect(copy)) as target:
                connections[0].backup(target)
            time.sleep(0.2)  # they write, and try to make checkpoints
            again = b"".join(snapshot.read(writers.database, length, 1 << 20))
        assert file.read_bytes() == again
        inspection.check(file)
        assert rows_of(file) == rows_of(copy)
    writers.check()


def test_a_copy_of_the_file_alone_is_found_out(tmp_path, writers):
    """The control: shows that the checks above see a loss."""
    for _ in range(20):
        acknowledged = writers.acknowledged()
        copy = shutil.copy(writers.database, tmp_path / "copy.sqlite3")
        try:
            inspection.check(Path(copy))
        except NotIntact:
            return
        if lost(acknowledged, numbers(copy)):
            return
        time.sleep(0.1)
    raise AssertionError("20 copies without the log have lost nothing")
