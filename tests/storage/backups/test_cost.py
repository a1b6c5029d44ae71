"""What a backup, a verification and a restore read and write, at two sizes: counted, not timed.

`/proc/self/io` counts the bytes of `read` and `write`, from and to memory as well. What SQLite
checks is mapped into memory, and not counted.
"""

import random
import sys
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from storage.sqlite import in_use
from tests.sqlite import connect
from tests.storage.backups.conftest import NOW
from tests.storage.backups.test_replacing import restore

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it needs /proc")

SLACK = 400_000
"""Bytes: schema, modules and manifests."""


def used(action):
    """Bytes that this process reads and writes meanwhile."""
    before = counters()
    action()
    return [after - start for after, start in zip(counters(), before, strict=True)]


def counters():
    lines = Path("/proc/self/io").read_text(encoding="ascii").split("\n")
    return [int(line.split()[1]) for line in lines[:2]]


def grow(database, rows):
    """Texts that cannot be compressed, so that nothing is cheap by accident."""
    choose = random.Random(rows)
    with closing(connect(database)) as connection, connection:
        sql = (
            "INSERT INTO storage_chatinteraction SELECT ?, user_id, message, ?, model_used, "
            "input_tokens, output_tokens, created_at, updated_at, NULL "
            "FROM storage_chatinteraction WHERE interaction_id = 'id-0'"
        )
        texts = ((f"more-{rows}-{n:06}", choose.randbytes(1000)) for n in range(rows))
        connection.executemany(sql, texts)
    return database.stat().st_size


@pytest.mark.parametrize("rows", [500, 4_000])
def test_it_follows_the_size_or_what_has_changed(backups, database, rows):
    size = grow(database, rows)
    times = iter(range(1, 10))

    def back_up():
        backups.take(database, NOW + timedelta(minutes=next(times)))

    read, written = used(back_up)
    assert read < 1.1 * size + SLACK
    assert written < 1.1 * size + SLACK

    read, written = used(back_up)  # nothing has changed
    assert read < 2.1 * size + SLACK, "once the database, and once what is kept of it"
    assert written < 0.01 * size + 10_000

    with closing(connect(database)) as connection, connection:
        sql = "UPDATE storage_chatinteraction SET output_tokens = 7 WHERE interaction_id = 'id-1'"
        connection.execute(sql)
    read, written = used(back_up)
    assert read < 2.1 * size + SLACK
    assert written < 0.01 * size + 100_000, "some chunks"

    name = backups.names()[-1]
    read, written = used(lambda: backups.verify(name))
    assert read < 1.1 * size + SLACK
    assert written < 1.1 * size + SLACK

    in_use.release(str(database))
    read, written = used(restore)
    assert read < 1.1 * size + SLACK
    assert written < 1.1 * size + SLACK
