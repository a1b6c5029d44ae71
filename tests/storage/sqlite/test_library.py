"""Which SQLite library may be used, and which one is."""

import sqlite3
import sys

import pytest
from django.db import connection
from django.db.backends.sqlite3.base import Database

from storage.sqlite import write_lock
from storage.sqlite.library import has_wal_reset_bug

# https://sqlite.org/wal.html#walresetbug
SOUND = [
    (3, 6, 23),  # no WAL yet
    (3, 44, 6),
    (3, 44, 7),
    (3, 50, 7),
    (3, 50, 8),
    (3, 51, 3),
    (3, 51, 4),
    (3, 52, 0),
    (3, 53, 4),
    (4, 0, 0),
]
AFFECTED = [
    (3, 7, 0),
    (3, 31, 1),
    (3, 40, 1),  # Debian 12
    (3, 43, 2),
    (3, 44, 0),
    (3, 44, 5),
    (3, 45, 0),  # later than 3.44.6, and without its fix
    (3, 49, 9),
    (3, 50, 0),
    (3, 50, 6),
    (3, 51, 0),
    (3, 51, 2),
]


@pytest.mark.parametrize("version", SOUND, ids=str)
def test_a_version_with_the_fix_or_without_wal_is_sound(version):
    assert not has_wal_reset_bug(version)


@pytest.mark.parametrize("version", AFFECTED, ids=str)
def test_a_version_from_3_7_0_on_without_the_fix_is_affected(version):
    assert has_wal_reset_bug(version)


@pytest.mark.django_db
def test_the_library_in_use_has_the_fix_or_one_process_writes_at_a_time():
    with connection.cursor() as cursor:
        (version,) = cursor.execute("SELECT sqlite_version()").fetchone()
    assert version == Database.sqlite_version
    assert write_lock.NEEDED is has_wal_reset_bug(tuple(map(int, version.split("."))))


def test_there_is_one_library_for_everyone_in_the_process():
    # Two libraries on one file in one process would release each other's locks.
    assert sqlite3.connect is Database.connect
    assert sqlite3.sqlite_version == Database.sqlite_version
    assert sys.modules["sqlite3.dbapi2"].connect is Database.connect
