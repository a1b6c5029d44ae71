"""The archive in a folder keeps the contract, and what a file system takes besides."""

import contextlib
import errno
import itertools
import os
import stat
import threading
from pathlib import Path

import pytest
from django.core.exceptions import SuspiciousOperation

from storage.archive.archive import Archive
from storage.archive.folder import ArchiveFolder
from storage.exceptions import StorageFull, StorageUnavailable
from tests.storage.archive.contract import ArchiveContract
from tests.storage.archive.rows import DAY, fields, row

SYSTEM_CALLS = ("open", "fsync", "replace", "unlink", "mkdir", "rmdir", "scandir")


class TestArchiveFolder(ArchiveContract):
    @pytest.fixture
    def new_backend(self, tmp_path):
        numbers = itertools.count()
        return lambda: ArchiveFolder(tmp_path / f"archive {next(numbers)}")


@pytest.fixture
def folder(tmp_path):
    return ArchiveFolder(tmp_path / "archive")


@pytest.fixture
def archive(folder):
    return Archive(folder)


class Dying:
    """Lets so many system calls through that change files; then, as if the process were dead,
    none, so that nothing is cleaned up either.
    """

    def __init__(self, monkeypatch, number, location):
        self.number = number
        self.calls = 0
        for name in SYSTEM_CALLS:
            monkeypatch.setattr(os, name, self._dying(getattr(os, name), str(location)))

    def _dying(self, call, location):
        def die(first, *args, **kwargs):
            ours = isinstance(first, int) or location in os.fspath(first)
            if ours:
                self.calls += 1
                if self.calls > self.number:
                    raise OSError(errno.EIO, "dead")
            return call(first, *args, **kwargs)

        return die


def test_a_process_that_dies_leaves_the_old_rows_or_the_new(tmp_path):
    old, new = [row(0), row(1)], [row(2)]
    segment = Archive(None).new_segment(DAY)
    seen = set()
    for number in itertools.count():
        location = tmp_path / str(number)
        archive = Archive(ArchiveFolder(location))
        archive.write(segment, old)
        with pytest.MonkeyPatch.context() as monkeypatch:
            dying = Dying(monkeypatch, number, location)
            with contextlib.suppress(StorageUnavailable):
                archive.write(segment, new)
        found = fields(archive.rows(segment))
        assert found in (fields(old), fields(new))
        archive.verify(segment)
        left = len(list(location.rglob("*")))
        archive.remove_orphans(segment)
        assert len(list(location.rglob("*"))) == 3  # the day, the manifest and the rows
        assert fields(archive.rows(segment)) == found
        seen.add((len(found), left))
        if dying.calls <= number:
            break
    assert {count for count, _ in seen} == {1, 2}
    assert max(left for _, left in seen) > 4  # something was cleaned up


def test_what_is_written_outlives_a_power_loss(archive, monkeypatch):
    """The file is on disk before it has its name, and its folder's names are then."""
    done = []
    fsync, replace = os.fsync, os.replace

    def synced(descriptor):
        is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        done.append("folder" if is_folder else "file")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", lambda *args: (done.append("rename"), replace(*args)))
    archive.files.write("holds/x.json", b"{}")
    assert done == ["folder", "folder", "file", "rename", "folder"]
    archive.mark(archive.new_segment(DAY))
    done.clear()
    markers = archive.mark_all([archive.new_segment(DAY) for _ in range(3)])
    assert done == ["folder"]  # nothing of an empty file is missing if its name is there
    archive.unmark(markers)
    assert done == ["folder", "folder"]


def test_only_its_owner_reads_the_archive(archive, tmp_path):
    archive.write(archive.new_segment(DAY), [row(0)])
    archive.mark(archive.new_segment(DAY))
    paths = [tmp_path / "archive", *(tmp_path / "archive").rglob("*")]
    assert len(paths) == 6
    for path in paths:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)


def test_what_a_crash_left_is_in_no_list_and_goes(archive, folder, tmp_path):
    segment = archive.new_segment(DAY)
    archive.write(segment, [row(0)])
    other = archive.new_segment(DAY)
    names = [f"{segment}.json.0.tmp", f"{segment}-0.jsonl.zst.0.tmp", f"{other}.json.0.tmp"]
    for name in names:
        (tmp_path / "archive" / name).write_text("half")
    assert archive.segments(DAY) == [segment]
    assert len(folder.listdir(DAY.isoformat())[1]) == 2
    archive.remove_orphans(segment)
    assert [(tmp_path / "archive" / name).exists() for name in names] == [False, False, True]
    archive.remove(other)
    assert not (tmp_path / "archive" / names[2]).exists()


def test_tidy_takes_what_nobody_writes_any_more(archive, folder, tmp_path):
    marker = archive.mark(archive.new_segment(DAY))
    old, new = (tmp_path / "archive" / f"{marker}.{name}.tmp" for name in ("old", "new"))
    for path in (old, new):
        path.write_text("half")
    os.utime(old, (0, 0))
    archive.tidy()
    assert (old.exists(), new.exists()) == (False, True)
    assert len(archive.marked()) == 1
    archive.tidy(["no such folder"])


def test_no_name_leads_out_of_the_folder(archive, tmp_path):
    (tmp_path / "secret").write_text("x")
    for call in (archive.files.read, archive.files.delete, archive.files.list):
        with pytest.raises(SuspiciousOperation):
            call("../secret")
    with pytest.raises(SuspiciousOperation):
        archive.files.write("../secret", b"")
    assert (tmp_path / "secret").read_text() == "x"


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_told_as_such_and_leaves_the_old(archive, monkeypatch, tmp_path, code):
    segment = archive.new_segment(DAY)
    archive.write(segment, [row(0)])

    def full(descriptor):
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(StorageFull, match="no space left"):
            archive.write(segment, [row(1)])
    assert fields(archive.rows(segment)) == fields([row(0)])
    assert len(list((tmp_path / "archive").rglob("*"))) == 3


def test_errors_name_the_file_and_no_text(archive, monkeypatch):
    segment = archive.new_segment(DAY)

    def broken(descriptor):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(StorageUnavailable) as caught:
        archive.write(segment, [row(0, message="marker of a message", user_id="marker of a user")])
    assert f"{segment}-" in str(caught.value)
    assert "Input/output error" in str(caught.value)
    assert "marker" not in str(caught.value)


def test_a_folder_that_another_process_deletes_is_made_again(archive):
    """One removes the last segment of a day while the other writes the next."""
    problems = []

    def work():
        try:
            segment = archive.new_segment(DAY)
            for _ in range(100):
                archive.files.write(f"{segment}.json", b"")
                archive.files.delete(f"{segment}.json")
                archive.files.remove_leftovers(segment)
        except BaseException as error:
            problems.append(error)

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert problems == []
    assert archive.days() == []


def test_a_file_in_the_place_of_the_folder(archive, tmp_path):
    (tmp_path / "archive").write_text("")
    for call in (archive.days, archive.marked, lambda: archive.mark(archive.new_segment(DAY))):
        with pytest.raises(StorageUnavailable):
            call()


def test_the_folder_is_made_when_it_is_needed(archive, tmp_path):
    assert archive.days() == []
    assert archive.marked() == {}
    assert not Path(tmp_path / "archive").exists()
