"""`export_user`: everything about a person in a folder, whole or not called an export."""

import contextlib
import fcntl
import hashlib
import json
import os
import signal
import stat
import time
from datetime import UTC, datetime, timedelta

import pytest

from chat.maintenance.erasure import ledger
from chat.maintenance.export import folder as export_folder
from chat.maintenance.export.folder import DATA, MANIFEST, STATE
from storage.archive import durable, frames
from storage.archive.archive import Archive
from storage.archive.folder import ArchiveFolder
from storage.compat import zstd
from storage.large.texts import LargeTexts
from storage.models import ApiKey
from storage.records.json import to_json
from tests import switches
from tests.chat.lines import command
from tests.chat.processes import COMMAND_SECONDS, run, start

pytestmark = pytest.mark.every_backend(exhaustive=True)

DAY = datetime(2026, 10, 3, tzinfo=UTC)
NOW = "--now=2026-11-22T00:00:00Z"


@pytest.fixture
def archive(storage, tmp_path, monkeypatch):
    archive = Archive(ArchiveFolder(location=tmp_path / "archive"))
    monkeypatch.setattr(storage, "archive", archive)
    monkeypatch.setattr(storage.database.large, "objects", LargeTexts(archive.files))
    return archive


@pytest.fixture
def small(monkeypatch):
    """Frames of some rows, and few of them between two points to go on from."""
    monkeypatch.setattr(frames, "FRAME_BYTES", 800)
    monkeypatch.setattr(export_folder, "FRAMES_AT_ONCE", 2)


@pytest.fixture
def fill(storage, archive, make_interaction):
    """Saves interactions of Ada and Bob, of which the older half is archived; gives Ada's."""

    def fill(count, **fields):
        rows = [
            make_interaction(
                interaction_id=f"{'née/😀' if number % 3 else 'i'}{number:03}",
                user_id="bob" if number % 4 == 3 else "ada",
                created_at=DAY + timedelta(hours=number // 2),
                updated_at=DAY + timedelta(days=20),
                **{"message": f"Frage\u2028 {number} \U0001f600"} | fields,
            )
            for number in range(count)
        ]
        for first in range(0, count, 100):
            storage.create_interactions_sync(rows[first : first + 100])
        for day in sorted({each.created_at.date() for each in rows[: count // 2]}):
            segment = archive.new_segment(day)
            found = [each for each in rows[: count // 2] if each.created_at.date() == day]
            found.sort(key=lambda each: (each.created_at, each.interaction_id))
            archive.write(segment, found)
            storage.move_to_cold(found, segment)
        rows.sort(key=lambda each: (each.created_at, each.interaction_id), reverse=True)
        return [json.loads(to_json(each)) for each in rows if each.user_id == "ada"]

    return fill


@pytest.fixture
def output(tmp_path):
    return tmp_path / "export"


def export(output, *options, user_id="ada"):
    return command("export_user", user_id, f"--output={output}", NOW, *options)


def lines_of(output):
    content = zstd.decompress((output / DATA).read_bytes())
    assert content == b"" or content.endswith(b"\n")
    return [json.loads(line) for line in content.split(b"\n")[:-1]]


def manifest_of(output):
    document = json.loads((output / MANIFEST).read_bytes())
    return document["content"]


def files(output):
    return {each.name: each.read_bytes() for each in output.iterdir()}


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("count", [30, 0, 1])
@pytest.mark.every_backend
def test_it_has_everything_newest_first_and_says_what_it_has(fill, output, small, count):
    expected = fill(count)
    status, said, errors = export(output)
    assert (status, errors) == (0, "")
    assert lines_of(output) == expected
    assert set(files(output)) == {DATA, MANIFEST}
    content = (output / DATA).read_bytes()
    summary = json.loads(said)
    assert (summary["status"], summary["exported"]) == ("done", len(expected))
    manifest = manifest_of(output)
    assert manifest["user_id"] == "ada"
    assert manifest["exported_at"] == manifest["started_at"] == "2026-11-22T00:00:00.000000Z"
    assert manifest["interactions"] == {
        "file": DATA,
        "count": len(expected),
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "newest": expected[0]["created_at"] if expected else None,
        "oldest": expected[-1]["created_at"] if expected else None,
    }
    assert command("export_user", f"--verify={output}")[0] == 0


@pytest.mark.every_backend
def test_the_largest_rows(fill, output):
    size = 390_000  # in objects
    expected = fill(4, message="é" * (size // 4), response="x" * (size // 2))
    assert export(output)[0] == 0
    assert lines_of(output) == expected


def test_it_tells_of_keys_and_erasures_but_no_key(storage, archive, output):
    _, key = ApiKey.objects.create_key(name="Ada's phone", user_id="ada")
    ApiKey.objects.create_key(name="Bob's phone", user_id="bob")
    erasure = ledger.request(archive, "ada")
    assert export(output)[0] == 0
    manifest = manifest_of(output)
    assert [each["name"] for each in manifest["api_keys"]] == ["Ada's phone"]
    assert [each["erasure_id"] for each in manifest["erasures"]] == [erasure.erasure_id]
    assert all(part not in str(manifest) for part in key.split("."))


def test_nobody_else_may_read_it(fill, output):
    fill(3)
    output.mkdir(mode=0o755)
    before = os.umask(0)
    try:
        assert export(output)[0] == 0
    finally:
        os.umask(before)
    assert mode(output) == 0o700
    assert {mode(each) for each in output.iterdir()} == {0o600}


def test_nothing_personal_is_said(fill, output):
    fill(30)
    status, said, errors = export(output, user_id="marker")
    assert status == 0
    assert "marker" not in said + errors


def test_a_dry_run_counts_and_writes_nothing(fill, output):
    expected = fill(30)
    for arguments in ([f"--output={output}"], []):
        status, said, _ = command("export_user", "ada", "--dry-run", *arguments)
        assert (status, json.loads(said)["exported"]) == (0, len(expected))
        assert not output.exists()


# What is there already.


def test_a_complete_export_is_not_overwritten_unless_forced(fill, output):
    fill(10)
    assert export(output)[0] == 0
    before = files(output)
    status, _, errors = export(output, user_id="bob")
    assert (status, bool(errors)) == (1, True)
    assert files(output) == before
    assert export(output, "--force", user_id="bob")[0] == 0
    assert {each["user_id"] for each in lines_of(output)} == {"bob"}


def test_a_folder_with_other_files_is_left_alone(fill, output):
    fill(3)
    output.mkdir()
    output.chmod(0o755)
    (output / "letter.txt").write_text("mine")
    status, _, errors = export(output, "--force")
    assert (status, "letter.txt" in errors) == (1, True)
    assert set(files(output)) == {"letter.txt"}
    assert mode(output) == 0o755


def test_two_exports_do_not_share_a_folder(fill, output):
    fill(3)
    output.mkdir()
    descriptor = os.open(output, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        assert export(output)[0] == 1
        assert files(output) == {}
    finally:
        os.close(descriptor)
    assert export(output)[0] == 0


def test_an_unfinished_export_of_another_is_not_gone_on_with(fill, output, small):
    fill(30)
    assert export(output, "--max-seconds=0")[0] == 3
    assert export(output, user_id="bob")[0] == 1
    assert export(output, "--force", user_id="bob")[0] == 0
    assert {each["user_id"] for each in lines_of(output)} == {"bob"}


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["ada"],
        ["", "--output=x"],
        ["a\nb", "--output=x"],
        ["--output=x"],
        ["ada", "--verify=x"],
        ["--verify=x", "--force"],
        ["ada", "--output=x", "--max-seconds=soon"],
    ],
    ids=ascii,
)
def test_wrong_use(storage, tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    status, _, errors = command("export_user", *arguments)
    assert status in (1, 2)  # 1 is what call_command makes of a parser's 2
    assert errors
    assert not (tmp_path / "x").exists()


# Cut short.

EVERY_STEP = switches.value("LIFECYCLE_KILLS") == "all"
EVERY_BIT = bool(switches.value("BACKUP_EVERY_BIT"))


class Killed(BaseException):
    """The end of a process, as far as a test of one process can tell."""


@pytest.fixture
def whole(fill, output, small, tmp_path):
    """The files of an export that nothing has stopped."""
    fill(32)
    other = tmp_path / "whole"
    assert export(other)[0] == 0
    return files(other)


def test_stopped_at_its_bound_it_goes_on_and_comes_out_the_same(whole, output):
    runs = 0
    while (status := export(output, "--max-seconds=0")[0]) == 3:
        assert set(files(output)) == {DATA, STATE}
        assert {mode(each) for each in output.iterdir()} == {0o600}
        runs += 1
    assert status == 0
    assert runs > 3
    assert files(output) == whole


@pytest.mark.every_backend
def test_what_comes_last_may_be_the_newest(storage, fill, output, small, make_interaction):
    """It was saved, or changed tiers, after the export had passed its place."""
    expected = fill(30)
    assert export(output, "--max-seconds=0")[0] == 3
    late = make_interaction(user_id="ada", created_at=DAY + timedelta(days=9))
    storage.create_interactions_sync([late])
    assert export(output)[0] == 0
    assert lines_of(output) == [*expected, json.loads(to_json(late))]
    found = manifest_of(output)["interactions"]
    assert found["newest"] == lines_of(output)[-1]["created_at"]
    assert found["oldest"] == expected[-1]["created_at"]


def test_what_was_written_behind_the_last_whole_part_is_cut_off(whole, output):
    assert export(output, "--max-seconds=0")[0] == 3
    with (output / DATA).open("ab") as file:
        file.write(b"torn" * 10_000)
    assert export(output)[0] == 0
    assert files(output) == whole


@pytest.mark.parametrize(
    ("first", "error"), [(1, Killed()), (3, OSError(28, "No space left"))], ids=["kill", "no space"]
)
@pytest.mark.every_backend
def test_stopped_at_any_step_it_goes_on_and_comes_out_the_same(
    storage, archive, whole, output, monkeypatch, first, error
):
    steps = 0
    fails_at = None

    def step():
        nonlocal steps
        steps += 1
        if steps == fails_at:
            raise error

    def watched(call):
        def watch(*args, **kwargs):
            step()
            found = call(*args, **kwargs)
            step()
            return found

        return watch

    for thing, name in (
        (durable, "sync"),
        (durable, "sync_folder"),
        (durable, "write"),
        (durable, "remove"),
        (storage, "hot_of_user"),
        (archive.files, "read"),
    ):
        monkeypatch.setattr(thing, name, watched(getattr(thing, name)))

    class Torn:
        """Writes half, and then the rest."""

        def __init__(self, file):
            self._file = file

        def __getattr__(self, name):
            return getattr(self._file, name)

        def write(self, content):
            self._file.write(content[: len(content) // 2])
            self._file.flush()
            step()
            self._file.write(content[len(content) // 2 :])

    class TornWriter(frames.FrameWriter):
        def __init__(self, file, **options):
            super().__init__(Torn(file), **options)

    monkeypatch.setattr(export_folder, "FrameWriter", TornWriter)
    export(output)
    for number in range(first, steps + 1, 1 if EVERY_STEP else 4):
        steps, fails_at = 0, number
        folder = output.with_name(f"export-{number}")
        with contextlib.suppress(Killed):
            assert export(folder)[0] == 1
        fails_at = None
        if not (folder / MANIFEST).exists():
            assert export(folder)[0] == 0, number
        assert {name: content for name, content in files(folder).items() if name != STATE} == whole
        assert command("export_user", f"--verify={folder}")[0] == 0


@pytest.mark.on_sqlite(reason="a process of its own")
def test_killed_it_goes_on_and_comes_out_the_same(folder):
    lines = "".join(
        json.dumps(
            {
                "interaction_id": f"i{number:06}",
                "user_id": "ada",
                "message": "".join(
                    hashlib.sha256(f"{number} {part}".encode()).hexdigest() for part in range(16)
                ),
                "model_used": "m",
                "created_at": (DAY + timedelta(seconds=number)).isoformat(),
            }
        )
        + "\n"
        for number in range(3000)
    )
    assert run(folder, "import_interactions", "-", stdin=lines.encode()).returncode == 0
    assert run(folder, "export_user", "ada", f"--output={folder}/whole", NOW).returncode == 0
    whole_size = _size(folder / "whole" / DATA)
    output = folder / "export"
    arguments = ("export_user", "ada", f"--output={output}", NOW)
    kills = 0
    for share in (1, 2, 3):
        process = start(folder, *arguments)
        end = time.monotonic() + COMMAND_SECONDS
        while process.poll() is None and time.monotonic() < end:
            if _size(output / DATA) > whole_size * share / 4:
                process.send_signal(signal.SIGKILL)
            time.sleep(0.001)
        kills += process.wait() == -signal.SIGKILL
    assert kills
    assert (output / MANIFEST).exists() or run(folder, *arguments).returncode == 0
    assert files(output) == files(folder / "whole")


def _size(path):
    return path.stat().st_size if path.exists() else 0


# Damage.


@pytest.mark.on_sqlite(reason="files are the same everywhere")
def test_every_flipped_bit_and_every_truncation_is_told(fill, output, small):
    fill(6)
    assert export(output)[0] == 0
    intact = files(output)
    for name, content in intact.items():
        path = output / name
        damaged = [
            content[:place] + bytes([content[place] ^ 1 << bit]) + content[place + 1 :]
            for place in range(len(content))
            for bit in (range(8) if EVERY_BIT else [place % 8])
        ]
        damaged += [content[:length] for length in range(len(content))]
        damaged += [content + b"\n", content + content]
        for each in damaged:
            path.write_bytes(each)
            with pytest.raises(export_folder.DamagedExport, match=name):
                export_folder.verify(output, export_folder.Exported())
        path.write_bytes(content)
    export_folder.verify(output, export_folder.Exported())


@pytest.mark.parametrize("name", [DATA, MANIFEST])
def test_the_command_says_which_file_is_damaged(fill, output, name):
    fill(3)
    assert export(output)[0] == 0
    (output / name).write_bytes((output / name).read_bytes()[:-1])
    status, said, errors = command("export_user", f"--verify={output}")
    assert (status, json.loads(said)["status"]) == (1, "failed")
    assert name in errors
    (output / name).unlink()
    status, _, errors = command("export_user", f"--verify={output}")
    assert (status, name in errors) == (1, True)


def test_an_unfinished_export_is_no_export(fill, output, small, tmp_path):
    fill(30)
    assert export(output, "--max-seconds=0")[0] == 3
    status, _, errors = command("export_user", f"--verify={output}")
    assert (status, "not complete" in errors) == (1, True)
    assert command("export_user", f"--verify={tmp_path}/nowhere")[0] == 1


@pytest.mark.parametrize("name", [DATA, STATE])
def test_damage_to_an_unfinished_export_is_told_when_it_goes_on(fill, output, small, name):
    expected = fill(30)
    path = output / name
    while not (output / DATA).exists() or not (output / DATA).stat().st_size:
        assert export(output, "--max-seconds=0")[0] == 3
    content = path.read_bytes()
    for damaged in (content[:-1], bytes([content[0] ^ 1]) + content[1:]):
        path.write_bytes(damaged)
        status, _, errors = export(output)
        assert (status, name in errors) == (1, True)
    assert export(output, "--force")[0] == 0
    assert lines_of(output) == expected


def test_a_damaged_archive_stops_it(fill, archive, output):
    fill(12)
    (day, *_) = archive.days()
    (segment,) = archive.segments(day)
    data = archive.manifest(segment).data
    archive.files.write(data, archive.files.read(data)[:-1])
    status, _, errors = export(output)
    assert (status, data in errors) == (1, True)
    assert not (output / MANIFEST).exists()
