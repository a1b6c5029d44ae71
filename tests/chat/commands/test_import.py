"""`import_interactions`: files of lines into the store, again and again if need be."""

import gzip
import os
import signal
import subprocess
import time
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection

from chat import interchange
from chat.api import exports
from chat.interchange import LINE_LIMIT
from chat.maintenance.export.exporting import pages_of
from storage.compat import zstd
from storage.exceptions import StorageFull
from storage.records.pages import PageQuery
from storage.sqlite.base import close_idle_connections
from storage.sqlite.statements import Statements
from tests.chat.lines import command, line, lines, stored, summary
from tests.chat.processes import COMMAND_SECONDS, run, start

pytestmark = pytest.mark.every_backend(exhaustive=True)


def import_file(path):
    return command("import_interactions", path)


@pytest.fixture
def file(storage, tmp_path):
    """Writes a file and gives its path."""

    def write(content, name="file.jsonl"):
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return write


@pytest.fixture
def kept(storage):
    """The ids in the store, in order."""

    def ids():
        found = storage.list_interactions_sync(PageQuery(limit=200)).interactions
        return sorted(interaction.interaction_id for interaction in found)

    return ids


def zstd_frames(content):
    """Two frames, one after the other, as `cat a.zst b.zst` makes them."""
    middle = content.index(b"\n") + 1
    return zstd.compress(content[:middle]) + zstd.compress(content[middle:])


def gzip_members(content):
    middle = content.index(b"\n") + 1
    return gzip.compress(content[:middle]) + gzip.compress(content[middle:])


@pytest.mark.parametrize(
    ("name", "packed"),
    [
        ("file.jsonl", bytes),
        ("file", bytes),
        ("file.jsonl.gz", gzip.compress),
        ("file.jsonl.gz", gzip_members),
        ("file.jsonl.zst", zstd.compress),
        ("file.jsonl.zst", zstd_frames),
    ],
    ids=["jsonl", "no ending", "gz", "gz in two members", "zst", "zst in two frames"],
)
def test_a_file_may_be_compressed(file, kept, name, packed):
    path = file(packed(lines(3)), name)
    assert import_file(path) == (0, summary(created=3), "")
    assert kept() == ["i000000", "i000001", "i000002"]


def test_a_dash_is_standard_input(standard_input, kept):
    standard_input(lines(3))
    assert import_file("-") == (0, summary(created=3), "")
    assert len(kept()) == 3


@pytest.mark.parametrize("count", [1, 499, 500, 501, 1000, 1001])
def test_every_line_is_saved_whatever_the_size_of_a_batch(file, storage, count):
    assert import_file(file(lines(count))) == (0, summary(created=count), "")
    assert storage.get_interaction_sync(f"i{count - 1:06}") is not None


def test_an_empty_file_and_empty_lines_are_nothing(file, kept):
    assert import_file(file(b"")) == (0, summary(), "")
    assert import_file(file(b"\n \n\r\n" + line() + b"\n\n")) == (0, summary(created=1), "")
    assert kept() == ["i000000"]


def test_the_last_line_needs_no_end_and_an_end_may_be_crlf(file, kept):
    content = line(0).replace(b"\n", b"\r\n") + line(1).rstrip()
    assert import_file(file(content)) == (0, summary(created=2), "")


def test_a_byte_order_mark_costs_no_line(file, kept, standard_input):
    mark = "\ufeff".encode()
    assert import_file(file(mark + lines(2))) == (0, summary(created=2), "")
    assert import_file(file(gzip.compress(mark + line(2)), "file.gz"))[0] == 0
    standard_input(mark + line(3))
    assert import_file("-")[0] == 0
    joined = mark + line(4) + mark + line(5)  # by `cat`
    assert import_file(file(joined)) == (0, summary(created=2), "")
    assert import_file(file(mark + b"\n")) == (0, summary(), "")
    assert kept() == [f"i{number:06}" for number in range(6)]


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_is_called_by_its_name(file, encoding):
    status, _, errors = import_file(file(f"\ufeff{line().decode()}".encode(encoding)))
    assert status == 1
    assert "line 1: UTF-16, not UTF-8.\n" in errors


@pytest.mark.parametrize("name", ["file.jsonl.gz", "file.jsonl.zst"])
def test_a_compressed_file_of_no_bytes_was_cut_short(file, name):
    status, _, errors = import_file(file(b"", name))
    assert status == 1
    assert len(errors.splitlines()) == 1


@pytest.mark.every_backend
def test_importing_again_changes_nothing(file, storage):
    path = file(lines(501))
    import_file(path)
    before = storage.get_interaction_sync("i000500")
    assert import_file(path) == (0, summary(unchanged=501), "")
    after = storage.get_interaction_sync("i000500")
    assert (after.created_at, after.updated_at) == (before.created_at, before.updated_at)


@pytest.mark.every_backend
def test_fields_may_be_left_out(file, storage):
    short = (
        b'{"interaction_id": "i", "user_id": "ada", "message": "", "model_used": "m", '
        b'"created_at": "2026-03-01T13:00:00.000001+01:00"}'
    )
    assert import_file(file(short))[0] == 0
    found = storage.get_interaction_sync("i")
    assert (found.response, found.input_tokens, found.output_tokens) == ("", 0, 0)
    assert found.created_at.isoformat() == "2026-03-01T12:00:00.000001+00:00"
    assert found.updated_at == found.created_at


BAD_LINES = {
    "no JSON": (lambda: b"nonsense\n", "JSON"),
    "cut off": (lambda: line()[:-20] + b"\n", "JSON"),
    "no object": (lambda: b"[1]\n", "object"),
    "a missing field": (lambda: b'{"interaction_id": "x"}\n', "user_id"),
    "an unknown field": (lambda: line(more=1), "more"),
    "a mistyped field": (lambda: line(input_tokens="5"), "input_tokens"),
    "no id": (lambda: line(interaction_id=""), "interaction_id must have 1 to 255"),
    "tokens below zero": (lambda: line(output_tokens=-1), "output_tokens must be from 0"),
    "too much text": (lambda: line(message="x" * 8_000_001), "8000000 bytes"),
    "a NUL": (lambda: line(message="a\0b"), "NUL"),
    "a lone surrogate": (lambda: line().replace(b"Question", b"\\ud800"), "surrogate"),
    "no UTF-8": (lambda: line().replace(b"Question", b"\xff"), "not UTF-8"),
    "a time without an offset": (lambda: line(created_at="2026-03-01T00:00:00"), "with an offset"),
    "no time": (lambda: line(created_at="yesterday"), "created_at"),
    "a time before the first year": (lambda: line(created_at="0001-01-01T00:00:00+14:00"), ""),
    "a time more than a day ahead": (
        lambda: line(created_at=f"{datetime.now(UTC) + timedelta(days=2):%Y-%m-%dT%H:%M:%SZ}"),
        "created_at must be at most a day ahead of the clock, which says ",
    ),
    "a time after the last year": (lambda: line(updated_at="9999-12-31T23:59:59-14:00"), ""),
    "brackets without end": (lambda: b"[" * 100_000 + b"\n", "object"),
    "a line without end": (
        lambda: line(message="x" * LINE_LIMIT),
        f"longer than {LINE_LIMIT} bytes",
    ),
    "a record twice": (lambda: line().rstrip() + line(), "JSON"),
}
"""The line, made by the test that imports it since some are long; and what is said of it."""


@pytest.mark.parametrize(("bad", "reason"), BAD_LINES.values(), ids=BAD_LINES)
def test_a_bad_line_is_reported_with_its_number_and_the_rest_goes_on(file, kept, bad, reason):
    status, said, errors = import_file(file(line(1) + b"\n" + bad() + line(2)))
    assert (status, said) == (1, summary(created=2, bad=1))
    assert errors.startswith("line 3: ")
    assert reason in errors
    assert errors.count("\n") == 1
    assert kept() == ["i000001", "i000002"]


def test_a_line_of_many_buffers_is_one(file, kept, monkeypatch):
    monkeypatch.setattr(interchange, "LINE_LIMIT", 1_000)
    status, said, errors = import_file(file(line(1) + b"x" * 3_500 + b"\n" + line(2)))
    assert (status, said) == (1, summary(created=2, bad=1))
    assert errors == "line 2: longer than 1000 bytes.\n"
    assert kept() == ["i000001", "i000002"]


def test_many_bad_lines_are_each_reported(file, kept):
    content = b"".join(line(number) + b"bad\n" for number in range(600))
    status, said, errors = import_file(file(content))
    assert (status, said) == (1, summary(created=600, bad=600))
    numbers = [each.partition(":")[0] for each in errors.splitlines()]
    assert numbers == [f"line {number}" for number in range(2, 1201, 2)]


@pytest.mark.every_backend
def test_another_content_under_a_taken_id_is_reported_and_left_as_it_was(file, storage):
    import_file(file(line(1) + line(2)))
    status, said, errors = import_file(file(line(1) + line(2, message="Another") + line(3)))
    assert (status, said) == (1, summary(created=1, unchanged=1, conflict=1))
    assert errors.startswith("line 2: interaction_id i000002 exists with other content")
    assert storage.get_interaction_sync("i000002").message == "Question 2"


def test_an_export_over_the_api_can_be_imported(file, storage, kept):
    """Its last line says that it is complete. Two such files may be joined."""
    import_file(file(lines(3)))
    exported = b"".join(exports.lines(pages_of(storage, "ada")))
    for each in kept():
        storage.delete_interaction_sync(each)
    assert import_file(file(exported + exported)) == (0, summary(created=3, unchanged=3), "")
    almost = exported.replace(b'"complete":true', b'"complete":true,"x":1')
    assert import_file(file(almost))[1] == summary(unchanged=3, bad=1)


def test_a_record_twice_in_a_file_is_one(file, kept):
    assert import_file(file(line(1) + line(1))) == (0, summary(created=1, unchanged=1), "")
    assert kept() == ["i000001"]


def packed(name, content):
    compress = gzip.compress if name.endswith("gz") else zstd.compress
    return compress(content)


@pytest.mark.parametrize("name", ["file.gz", "file.zst"])
@pytest.mark.parametrize("count", [3, 2000], ids=["small", "large"])
def test_a_truncated_file_is_an_error(file, kept, name, count):
    whole = packed(name, lines(count))
    for end in (len(whole) - 1, len(whole) // 2):
        status, said, errors = import_file(file(whole[:end], name))
        assert status == 1, f"cut to {end} of {len(whole)} bytes, yet: {said}{errors}"
        assert name in errors


@pytest.mark.parametrize("name", ["file.gz", "file.zst"])
def test_a_damaged_file_is_an_error_that_names_it(file, name):
    whole = packed(name, lines(2000))
    middle = len(whole) // 2
    damaged = whole[:middle] + bytes(16) + whole[middle + 16 :]
    status, _, errors = import_file(file(damaged, name))
    assert status == 1
    assert name in errors


@pytest.mark.parametrize("name", ["file.gz", "file.zst"])
@pytest.mark.parametrize("content", [lines(3), b"x"], ids=["plain text", "one byte"])
def test_a_file_that_is_not_what_its_name_says_is_an_error(file, kept, name, content):
    status, _, errors = import_file(file(content, name))
    assert status == 1
    assert name in errors
    assert kept() == []


@pytest.mark.parametrize("name", ["file.gz", "file.zst"])
def test_rubbish_after_the_end_is_an_error(file, name):
    assert import_file(file(packed(name, lines(3)) + b"rubbish", name))[0] == 1


def test_a_missing_file_is_an_error_that_names_it(storage, tmp_path):
    status, _, errors = import_file(tmp_path / "nothing.jsonl")
    assert status == 1
    assert "nothing.jsonl" in errors


def test_a_folder_is_no_file(storage, tmp_path):
    assert import_file(tmp_path)[0] == 1


def test_a_store_that_fails_in_the_middle_keeps_whole_batches(file, storage, monkeypatch):
    save = storage.database.create_many
    calls = []

    def fail_third(interactions):
        calls.append(len(interactions))
        if len(calls) == 3:
            raise StorageFull("The disk is full.")
        return save(interactions)

    monkeypatch.setattr(storage.database, "create_many", fail_third)
    status, _, errors = import_file(file(lines(1600)))
    assert status == 1
    assert "The disk is full. 1000 created" in errors
    assert storage.get_interaction_sync("i000999") is not None
    assert storage.get_interaction_sync("i001000") is None


@pytest.mark.on_sqlite(reason="a process of its own")
def test_the_shell_gets_the_status_and_no_traceback(folder):
    finished = run(folder, "import_interactions", "-", stdin=line(1) + b"bad\n" + line(2))
    assert finished.returncode == 1
    assert finished.stdout.decode() == summary(created=2, bad=1)
    assert finished.stderr.startswith(b"line 2: ")
    assert b"Traceback" not in finished.stderr
    assert stored(folder) == 2


@pytest.fixture
def importing(folder):
    """Starts an import from standard input, which stays open."""
    started = []

    def begin(content):
        process = start(
            *(folder, "import_interactions", "-"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        started.append(process)
        process.stdin.write(content)
        process.stdin.flush()
        return process

    yield begin
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            stream.close()


def wait_until_stored(folder, count):
    end = time.monotonic() + COMMAND_SECONDS
    while stored(folder) < count:
        assert time.monotonic() < end, "the import does not get on"
        time.sleep(0.02)


@pytest.mark.on_sqlite(reason="a process of its own")
def test_ctrl_c_leaves_whole_batches_and_a_second_run_finishes(folder, importing):
    process = importing(lines(1200))
    wait_until_stored(folder, 1000)  # now it waits for more, with 200 that are not saved
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(COMMAND_SECONDS) == 130
    said = process.stderr.read()
    assert b"1000 created" in said
    assert b"run it again" in said
    assert b"Traceback" not in said
    assert stored(folder) == 1000
    again = run(folder, "import_interactions", "-", stdin=lines(1200))
    assert again.returncode == 0
    assert again.stdout.decode() == summary(created=200, unchanged=1000)


@pytest.mark.on_sqlite(reason="sqlite3 drops what is raised in a function that SQLite calls")
def test_ctrl_c_within_a_function_of_sqlite_is_ctrl_c(file, kept):
    def pressed(value):
        signal.raise_signal(signal.SIGINT)

    statements = Statements("default")

    def replace_a_function_of_the_index():
        connection.connection.create_function("LENGTH", 1, pressed, deterministic=True)

    before = signal.getsignal(signal.SIGINT)
    statements.transaction(replace_a_function_of_the_index)  # on the connection that commits
    try:
        status, _, errors = import_file(file(lines(1)))
    finally:
        close_idle_connections()  # nobody shall use that one
    assert (status, errors.startswith("Stopped. 0 created")) == (130, True)
    assert signal.getsignal(signal.SIGINT) is before
    assert kept() == []


@pytest.mark.on_sqlite(reason="a process of its own")
def test_ctrl_c_while_it_writes_leaves_whole_batches(folder, file):
    path = file(lines(50_000))
    process = start(folder, "import_interactions", path)
    try:
        wait_until_stored(folder, 1)
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(COMMAND_SECONDS) == 130
    finally:
        process.kill()
        process.wait()
    count = stored(folder)
    assert 0 < count < 50_000
    assert count % 500 == 0
