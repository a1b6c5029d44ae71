"""`export_interactions`: the store as a file of lines."""

import gzip
import json
import subprocess

import pytest

from chat.management.commands import export_interactions
from storage.compat import zstd
from storage.exceptions import StorageUnavailable
from storage.interface import Storage
from tests.chat.lines import command, lines, record
from tests.chat.processes import COMMAND_SECONDS, run, start

pytestmark = pytest.mark.every_backend(exhaustive=True)

EXPORTED = "{} exported.\n"


def read(path):
    """The records in a file, in its order."""
    content = path.read_bytes()
    if path.name.endswith(".gz"):
        content = gzip.decompress(content)
    elif path.name.endswith(".zst"):
        content = zstd.decompress(content)
    assert content == b"" or content.endswith(b"\n")
    return [json.loads(line) for line in content.splitlines()]


@pytest.fixture
def fill(storage, standard_input):
    """Imports this many interactions."""

    def save(count):
        standard_input(lines(count))
        assert command("import_interactions", "-")[0] == 0

    return save


@pytest.mark.parametrize("name", ["file", "file.jsonl", "file.jsonl.gz", "file.jsonl.zst"])
@pytest.mark.every_backend
def test_a_file_has_all_newest_first_and_may_be_compressed(fill, tmp_path, name):
    fill(3)
    path = tmp_path / name
    assert command("export_interactions", path) == (0, "", EXPORTED.format(3))
    assert read(path) == [record(2), record(1), record(0)]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("count", [0, 1, 200, 201, 400])
def test_no_interaction_is_lost_between_pages(fill, tmp_path, count):
    fill(count)
    path = tmp_path / "file.jsonl"
    assert command("export_interactions", path) == (0, "", EXPORTED.format(count))
    assert read(path) == [record(number) for number in reversed(range(count))]


@pytest.mark.parametrize("arguments", [[], ["-"]], ids=["nothing", "dash"])
def test_without_a_file_it_writes_to_standard_output(fill, capfdbinary, arguments):
    fill(2)
    assert command("export_interactions", *arguments) == (0, "", EXPORTED.format(2))
    assert list(map(json.loads, capfdbinary.readouterr().out.splitlines())) == [
        record(1),
        record(0),
    ]


@pytest.mark.every_backend
def test_only_one_users(storage, make_interaction, tmp_path):
    storage.create_interactions_sync(
        [make_interaction(user_id=user_id) for user_id in ("ada", "a b/c", "ada", "née")]
    )
    for user_id, count in {"ada": 2, "a b/c": 1, "née": 1, "nobody": 0}.items():
        path = tmp_path / "file.jsonl"
        assert command("export_interactions", path, f"--user={user_id}")[0] == 0
        assert [found["user_id"] for found in read(path)] == [user_id] * count


@pytest.mark.every_backend
def test_only_a_period_with_its_beginning_and_without_its_end(fill, tmp_path):
    fill(10)
    path = tmp_path / "file.jsonl"
    period = [
        "--created-after=2026-03-01T01:00:02.000001+01:00",
        "--created-before=2026-03-01T00:00:05.000001Z",
    ]
    assert command("export_interactions", path, *period)[0] == 0
    assert read(path) == [record(4), record(3), record(2)]
    assert command("export_interactions", path, *period, "--user=nobody")[0] == 0
    assert read(path) == []


@pytest.mark.parametrize(
    "argument",
    [
        "--created-after=2026-03-01T00:00:00",
        "--created-before=yesterday",
        "--created-before=2026-02-30T00:00:00Z",
        "--user=",
        "--user=a\nb",
        f"--user={'x' * 256}",
        "--limit=5",
    ],
    ids=ascii,
)
def test_a_filter_that_cannot_be_is_refused(storage, tmp_path, argument):
    status, _, errors = command("export_interactions", tmp_path / "file.jsonl", argument)
    assert status != 0
    assert errors
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_the_edges_of_the_calendar_are_an_error_or_none_at_all(storage, tmp_path, text):
    status, _, errors = command(
        "export_interactions", tmp_path / "file.jsonl", f"--created-after={text}"
    )
    assert status == 0 or errors


def test_a_file_that_exists_is_replaced_when_the_new_one_is_whole(fill, tmp_path):
    fill(1)
    path = tmp_path / "file.jsonl"
    path.write_text("what was there before, and longer than what will be" * 100)
    assert command("export_interactions", path)[0] == 0
    assert read(path) == [record(0)]


@pytest.mark.parametrize("name", ["no/such/folder/file.jsonl", ".", "x" * 300])
def test_a_path_that_cannot_be_written_is_an_error(fill, tmp_path, name):
    fill(1)
    status, _, errors = command("export_interactions", f"{tmp_path}/{name}")
    assert status == 1
    assert errors
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def before_each_page(storage, monkeypatch):
    """Calls a function before each page is read. A page has one interaction."""

    def call(function):
        read_page = storage.database.newest_json

        def called(wanted):
            function(wanted)
            return read_page(wanted)

        monkeypatch.setattr(export_interactions, "PAGE_SIZE", 1)
        monkeypatch.setattr(storage.database, "newest_json", called)

    return call


@pytest.mark.parametrize("name", ["file.jsonl", "file.jsonl.gz", "file.jsonl.zst"])
@pytest.mark.parametrize(
    ("error", "status"),
    [(KeyboardInterrupt(), 130), (OSError(28, "No space left on device"), 1)],
    ids=["ctrl-c", "disk full"],
)
def test_an_export_that_is_cut_short_leaves_what_was_there(
    fill, before_each_page, tmp_path, name, error, status
):
    fill(3)
    path = tmp_path / name
    path.write_text("what was there before")

    def stop_after_one(wanted):
        if wanted.before is not None:
            raise error

    before_each_page(stop_after_one)
    found, _, errors = command("export_interactions", path)
    assert (found, bool(errors)) == (status, True)
    assert path.read_text() == "what was there before"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.every_backend
def test_a_store_that_is_away_is_an_error(fill, tmp_path, monkeypatch):
    fill(1)

    def fail(*args):
        raise StorageUnavailable("The store is away.")

    monkeypatch.setattr(Storage, "list_interactions_json_sync", fail)
    status, _, errors = command("export_interactions", tmp_path / "file.jsonl")
    assert (status, errors) == (1, "The store is away.\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.on_sqlite(reason="a process of its own")
def test_a_reader_that_has_had_enough_is_no_error(fill, request, tmp_path):
    """As in `export_interactions | head -n 1`, with more to write than a pipe holds."""
    fill(2000)
    folder = request.getfixturevalue("folder")
    process = start(folder, "export_interactions", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        assert json.loads(process.stdout.readline()) == record(1999)
        process.stdout.close()
        assert process.wait(COMMAND_SECONDS) in (0, -13, 141)
        assert process.stderr.read() == b""
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


@pytest.mark.on_sqlite(reason="a process of its own")
def test_the_shell_gets_the_status_and_no_traceback(folder):
    finished = run(folder, "export_interactions", folder / "no/such/folder/file.jsonl")
    assert finished.returncode == 1
    assert b"no/such/folder" in finished.stderr
    assert b"Traceback" not in finished.stderr


@pytest.mark.every_backend
def test_a_file_that_is_read_by_others_is_never_half_written(fill, before_each_page, tmp_path):
    """A reader sees the old file or the new one: it is put in place in one step."""
    fill(3)
    path = tmp_path / "file.jsonl"
    path.write_text("old")
    seen = []
    before_each_page(lambda wanted: seen.append(path.read_text()))
    command("export_interactions", path)
    assert seen == ["old"] * 3
    assert len(read(path)) == 3
