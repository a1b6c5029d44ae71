"""`export_interactions FILE`, whatever FILE is: what is there is written to and not replaced."""

import json
import os
import stat
import threading
from pathlib import Path

import pytest

from chat import output
from storage.interface import Storage
from tests.chat.lines import command, lines, record

COUNT = 3
EXPORTED = (0, "", f"{COUNT} exported.\n")
ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make what this test needs")


@pytest.fixture(autouse=True)
def _rows(storage, standard_input):
    standard_input(lines(COUNT))
    assert command("import_interactions", "-")[0] == 0


@pytest.fixture(autouse=True)
def _loose_umask():
    """As most shells have it."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def export(path):
    return command("export_interactions", path)


def is_whole(content):
    found = [json.loads(line) for line in content.splitlines()]
    return found == [record(number) for number in reversed(range(COUNT))]


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_the_reader_of_a_named_pipe_gets_all_and_the_pipe_stays(tmp_path):
    pipe, got = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()), daemon=True)
    reader.start()
    assert export(pipe) == EXPORTED
    reader.join(60)
    assert is_whole(got[0])
    assert pipe.is_fifo()
    assert list(tmp_path.iterdir()) == [pipe]


@ROOT_ONLY
def test_a_device_stays_a_device(tmp_path):
    device = tmp_path / "null"
    os.mknod(device, 0o600 | stat.S_IFCHR, os.makedev(1, 3))
    assert export(device) == EXPORTED
    assert device.is_char_device()


@pytest.mark.parametrize("name", ["/dev/fd/{}", "/proc/self/fd/{}"])
def test_an_open_file_is_written_to_where_it_is(tmp_path, name):
    """As with `>(gzip > FILE)` and `3>> FILE`: what is there already stays."""
    path = tmp_path / "file"
    path.write_text("before\n")
    with path.open("ab") as file:
        assert export(name.format(file.fileno())) == EXPORTED
    before, _, added = path.read_bytes().partition(b"\n")
    assert before == b"before"
    assert is_whole(added)


def test_a_link_to_an_open_file_is_one_too(tmp_path, capfdbinary):
    link = tmp_path / "link"
    link.symlink_to("/dev/stdout")
    assert export(link) == EXPORTED
    assert is_whole(capfdbinary.readouterr().out)
    assert link.is_symlink()


@pytest.mark.parametrize("there", [True, False])
def test_a_link_stays_and_what_it_leads_to_is_replaced(tmp_path, there):
    disk = tmp_path / "disk"
    disk.mkdir()
    file, middle, link = disk / "all.jsonl", tmp_path / "middle", tmp_path / "link"
    if there:
        file.write_text("old")
    middle.symlink_to("disk/all.jsonl")
    link.symlink_to(middle)
    assert export(link) == EXPORTED
    assert (link.is_symlink(), middle.is_symlink()) == (True, True)
    assert is_whole(file.read_bytes())
    assert list(disk.iterdir()) == [file]


def test_links_in_a_circle_are_an_error(tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    one.symlink_to(other)
    other.symlink_to(one)
    status, _, errors = export(one)
    assert status == 1
    assert len(errors.splitlines()) == 1


@ROOT_ONLY
@pytest.mark.parametrize("there", [True, False])
def test_another_users_link_in_a_shared_folder_is_not_followed(tmp_path, there):
    """Linux refuses such a link, too, but an export renames a file, where Linux does not look."""
    shared, victim = tmp_path / "shared", tmp_path / "victim"
    shared.mkdir()
    shared.chmod(0o1777)
    if there:
        victim.write_text("mine")
    link = shared / "all.jsonl"
    link.symlink_to(victim)
    os.chown(link, 12345, 12345, follow_symlinks=False)
    status, _, errors = export(link)
    assert status == 1
    assert errors == f"{link} is another user's link in a folder that all users share.\n"
    assert victim.exists() == there
    assert not there or victim.read_text() == "mine"


@pytest.mark.parametrize(
    ("before", "after"), [(None, 0o600), (0o600, 0o600), (0o400, 0o400), (0o664, 0o600)], ids=str
)
def test_only_the_owner_can_read_it_and_a_stricter_mode_stays(tmp_path, before, after):
    path = tmp_path / "file.jsonl"
    if before is not None:
        path.touch()
        path.chmod(before)
    assert export(path) == EXPORTED
    assert mode(path) == after
    assert is_whole(path.read_bytes())


def test_while_it_is_written_only_the_owner_can_read_it(tmp_path):
    path = tmp_path / "file.jsonl"
    path.touch(mode=0o644)
    with output.opened(str(path)):
        assert [mode(made) for made in tmp_path.iterdir() if made != path] == [0o600]


@pytest.mark.parametrize("what", ["file", "link", "pipe"])
def test_what_has_the_name_of_the_unfinished_file_is_not_written_to(tmp_path, what):
    """A crash has left it, or someone has put it there to read the export."""
    path, other = tmp_path / "file.jsonl", tmp_path / "other"
    other.write_text("other")
    partial = tmp_path / "file.jsonl.partial"
    if what == "file":
        partial.hardlink_to(other)
    elif what == "link":
        partial.symlink_to(other)
    else:
        os.mkfifo(partial)
    assert export(path) == EXPORTED
    assert other.read_text() == "other"
    assert sorted(tmp_path.iterdir()) == [path, other]


def test_of_two_exports_to_one_file_only_one_is_put_in_place(tmp_path):
    path = tmp_path / "file.jsonl"

    def begin_another():
        with output.opened(str(path)) as first:
            first.write(b"half")
            with output.opened(str(path)) as later:
                later.write(b"whole")

    with pytest.raises(FileExistsError, match="Another export"):
        begin_another()
    assert path.read_bytes() == b"whole"
    assert list(tmp_path.iterdir()) == [path]


def test_a_pipe_whose_export_fails_is_told_to_be_incomplete(tmp_path, monkeypatch):
    def stop(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(Storage, "list_interactions_json_sync", stop)
    status, _, errors = export(Path("/dev/null"))
    assert (status, errors) == (130, "Stopped; the export is not complete.\n")
