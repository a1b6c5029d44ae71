"""The table of counters in a file: who can read it, what makes room, and what if there is none."""

import os

import pytest

from storage.rate_limits import table as table_module
from storage.rate_limits.lockouts import FORGET_MS, LOCK_MS, Lockouts
from storage.rate_limits.table import NOTHING, Table
from tests.clocks import Clock

LATER = 1_000


def digest(number):
    """One of many in the same bucket."""
    return bytes(12) + number.to_bytes(4, "big")[::-1]


def write(table, number, expires, current):
    with table:
        table.write(digest(number), 0, (expires, 0, current))


def current(table, number):
    with table:
        return table.read(digest(number))[2]


def test_another_process_sees_what_was_written(tmp_path):
    write(Table(tmp_path / "calls"), 1, LATER, 7)
    assert current(Table(tmp_path / "calls"), 1) == 7


def test_only_the_owner_can_read_it(tmp_path):
    Table(tmp_path / "limits" / "calls")
    assert (tmp_path / "limits").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "limits" / "calls").stat().st_mode & 0o777 == 0o600
    assert list((tmp_path / "limits").iterdir()) == [tmp_path / "limits" / "calls"]


def test_all_of_its_space_is_reserved_when_it_is_made(tmp_path):
    Table(tmp_path / "calls")
    found = (tmp_path / "calls").stat()
    assert found.st_size == 2**20
    assert found.st_blocks * 512 >= found.st_size


def test_what_has_expired_makes_room_first_and_then_what_counts_least(tmp_path):
    table = Table(tmp_path / "calls")
    for number in range(1, 9):
        write(table, number, 0 if number == 3 else LATER, number + 10)
    write(table, 100, LATER, 5)
    assert current(table, 3) == 0
    assert current(table, 100) == 5
    write(table, 101, LATER, 1)
    assert current(table, 100) == 0
    assert [current(table, number) for number in (1, 2, 4, 5, 6, 7, 8)] == [
        number + 10 for number in (1, 2, 4, 5, 6, 7, 8)
    ]


def test_what_is_removed_is_gone(tmp_path):
    table = Table(tmp_path / "calls")
    write(table, 1, LATER, 7)
    with table:
        table.remove(digest(1))
        table.remove(digest(2))
        assert table.read(digest(1)) == NOTHING


@pytest.mark.parametrize("what", ["a short file", "a link", "a folder that is a file"])
def test_without_a_file_a_process_counts_by_itself(tmp_path, caplog, what):
    path = tmp_path / "calls"
    if what == "a short file":
        path.write_bytes(b"short")
    elif what == "a link":
        (tmp_path / "precious").write_bytes(bytes(2**20))
        path.symlink_to(tmp_path / "precious")
    else:
        path.write_text("")
        path = path / "calls"
    table = Table(path)
    write(table, 1, LATER, 7)
    assert current(table, 1) == 7
    assert current(Table(path), 1) == 0
    assert caplog.records[0].getMessage().startswith("Each process counts calls for itself: ")


def test_a_full_disk_is_noticed_when_it_is_made(tmp_path, monkeypatch, caplog):
    def full(descriptor, mode):
        os.close(descriptor)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(table_module.os, "fdopen", full)
    table = Table(tmp_path / "calls")
    write(table, 1, LATER, 7)
    assert current(table, 1) == 7
    assert list(tmp_path.iterdir()) == []


def test_a_lock_of_before_a_restart_of_the_machine_is_over(tmp_path, monkeypatch):
    clock = Clock()
    monkeypatch.setattr("storage.rate_limits.lockouts.time", clock)
    clock.steady = 100 * 24 * 60 * 60.0
    lockouts = Lockouts(Table(tmp_path / "login"))
    assert lockouts.attempt({digest(1): 1}) == 0
    assert lockouts.attempt({digest(1): 1}) == LOCK_MS // 1000
    clock.steady = 60.0  # the machine's clock starts again
    assert lockouts.wait({digest(1): 1}) == 0
    assert FORGET_MS > LOCK_MS
