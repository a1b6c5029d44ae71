"""A descriptor of the database file leaves SQLite's locks as they are."""

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

from storage.sqlite import database_file

TRY_TO_WRITE = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], timeout=0, isolation_level=None)
try:
    connection.execute("BEGIN IMMEDIATE")
except sqlite3.OperationalError as error:
    print(error)
"""


def other_process_finds(database: Path) -> str:
    command = [sys.executable, "-c", TRY_TO_WRITE, str(database)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_reading_bytes_does_not_drop_the_locks_of_this_process(tmp_path: Path) -> None:
    database = tmp_path / "db.sqlite3"
    connection = sqlite3.connect(database, isolation_level=None)
    connection.execute("CREATE TABLE t (a)")
    connection.execute("BEGIN IMMEDIATE")

    found = os.pread(database_file.descriptor(str(database)), 16, 0)

    assert found == b"SQLite format 3\0"
    assert other_process_finds(database) == "database is locked"

    os.close(os.open(database, os.O_RDONLY))  # what the module must not do
    assert other_process_finds(database) == ""


def test_there_is_one_descriptor_for_each_file(tmp_path: Path) -> None:
    database = tmp_path / "db.sqlite3"
    database.write_bytes(b"first")
    first = database_file.descriptor(str(database))
    assert database_file.descriptor(str(database)) == first

    database.rename(tmp_path / "aside")
    database.write_bytes(b"second")
    second = database_file.descriptor(str(database))
    assert (os.pread(first, 9, 0), os.pread(second, 9, 0)) == (b"first", b"second")
