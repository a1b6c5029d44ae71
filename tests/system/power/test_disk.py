"""The disk of these tests loses what a real one may lose, and nothing else."""

import os

import pytest

from tests.system.power.disk import SECTOR, Choice, Disk, choices
from tests.system.power.recording import Event

NOTHING, ALL = 0.0, 1.0


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "data"
    root.mkdir()
    (root / "old").write_bytes(b"old")
    return root


class Program:
    """Does what a program would do, to a disk."""

    def __init__(self, root):
        self._root, self._next = root, 10**15
        self.disk = Disk(root)
        self.inodes = {"": root.stat().st_ino, "old": (root / "old").stat().st_ino}

    def create(self, name, kind="c"):
        self._next += 1
        self.inodes[name] = self._next
        self._do(kind, self._next, 0, name)

    def write(self, name, offset, content):
        self.disk.apply(Event("w", self.inodes[name], offset, content, b""))

    def sync(self, name):
        self.disk.apply(Event("s", self.inodes[name], 0, b"", b""))

    def truncate(self, name, size):
        self.disk.apply(Event("t", self.inodes[name], size, b"", b""))

    def rename(self, old, new):
        self._do("r", 0, 0, old, new)

    def unlink(self, name):
        self._do("u", 0, 0, name)

    def _do(self, kind, inode, offset, *names):
        first, second = [str(self._root / name).encode() for name in (*names, names[0])[:2]]
        self.disk.apply(Event(kind, inode, offset, first, second))

    def left(self, tmp_path, choice):
        """The files that are left, with their contents."""
        target = tmp_path / os.urandom(8).hex()
        self.disk.leave(target, choice)
        return {
            str(path.relative_to(target)): path.read_bytes()
            for path in target.rglob("*")
            if path.is_file()
        }

    def all_left(self, tmp_path):
        """The contents and names that many losses leave, each once."""
        left = [self.left(tmp_path, choice) for choice in choices("seed", 40)]
        return {tuple(sorted(files.items())) for files in left}


@pytest.fixture
def program(root):
    return Program(root)


def test_a_file_is_safe_with_its_content_and_its_name_synced(program, tmp_path):
    program.create("new")
    program.write("new", 0, b"new")
    assert program.left(tmp_path, Choice("", NOTHING)) == {"old": b"old"}
    program.sync("")
    assert program.left(tmp_path, Choice("", NOTHING)) == {"old": b"old", "new": b""}
    program.sync("new")
    assert program.all_left(tmp_path) == {(("new", b"new"), ("old", b"old"))}


def test_a_synced_file_without_a_name_is_lost(program, tmp_path):
    program.create("new")
    program.write("new", 0, b"new")
    program.sync("new")
    assert program.all_left(tmp_path) == {
        (("old", b"old"),),
        (("new", b"new"), ("old", b"old")),
    }


def test_a_write_is_torn_between_sectors_and_reordered(program, tmp_path):
    program.write("old", 0, b"a" * SECTOR + b"b" * SECTOR)
    program.write("old", 2 * SECTOR, b"c")
    contents = {dict(files)["old"] for files in program.all_left(tmp_path)}
    assert b"a" * SECTOR + b"b" * SECTOR + b"c" in contents
    assert b"old" + b"\0" * (SECTOR - 3) + b"b" * SECTOR in contents
    assert b"old" + b"\0" * (2 * SECTOR - 3) + b"c" in contents
    assert all(content[:SECTOR].rstrip(b"\0") in (b"old", b"a" * SECTOR) for content in contents)


def test_a_rename_is_done_or_not(program, tmp_path):
    program.create("new")
    program.write("new", 0, b"new")
    program.sync("new")
    program.sync("")
    program.rename("new", "old")
    assert program.all_left(tmp_path) == {
        (("new", b"new"), ("old", b"old")),
        (("old", b"new"),),
    }


def test_a_rename_from_folder_to_folder_is_done_in_both_or_in_none(program, tmp_path):
    program.create("folder", "m")
    program.sync("")
    program.rename("old", "folder/old")
    either = {(("old", b"old"),), (("folder/old", b"old"),)}
    assert program.all_left(tmp_path) == either
    program.sync("folder")
    assert program.all_left(tmp_path) == {(("folder/old", b"old"),)}


def test_what_is_truncated_or_deleted_may_come_back(program, tmp_path):
    program.truncate("old", 1)
    program.unlink("old")
    assert program.all_left(tmp_path) == {(), (("old", b"o"),), (("old", b"old"),)}


def test_a_call_that_was_missed_is_noticed(program, root):
    program.write("old", 0, b"not in the file")
    assert program.disk.is_as(root) == [str(root / "old")]
