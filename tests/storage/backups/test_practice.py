"""A restore can be practised beside running servers, and the loss of the archive has a way out."""

import fcntl
import json
import os
import shutil

import pytest

from tests.chat.processes import Server, give_tables, run
from tests.storage.backups.conftest import ids
from tests.storage.backups.test_after_restore import line, stored, succeed

KEYS = {"SECRET_KEY": "k" * 50}


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    """Two users with a hot row and two archived ones each, and a backup."""
    folder = tmp_path_factory.mktemp("prepared")
    lines = [line(user_id, days) for user_id in ("grace", "bob") for days in (1, 40, 41)]
    give_tables(folder)
    succeed(
        folder, "import_interactions", "-", stdin="\n".join(map(json.dumps, lines)).encode(), **KEYS
    )
    succeed(folder, "archive_interactions", **KEYS)
    succeed(folder, "backup", **KEYS)
    return folder


@pytest.fixture
def data(prepared, tmp_path):
    return shutil.copytree(prepared, tmp_path, dirs_exist_ok=True)


def restore(folder, *options, **values):
    result = run(folder, "restore", "latest", *options, **(KEYS | values))
    said = json.loads(result.stdout) if result.stdout else None
    return result.returncode, said, result.stderr.decode()


def files(folder):
    found = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return {
        path: content
        for path, content in found.items()
        if not path.name.startswith(("data.sqlite3", ".lock", "secret_key"))
        and path.suffix != ".prom"
    }


def test_a_practice_reads_the_backup_and_changes_nothing(data):
    succeed(data, "erase_user", "grace", **KEYS)
    before = files(data), stored(data)
    status, said, errors = restore(data, "--practice")
    assert (status, said["status"]) == (0, "done")
    assert (said["erased"], said["read"], said["archived"], said["not_in_archive"]) == (1, 3, 4, 0)
    assert "can be restored: it took" in errors
    assert (files(data), stored(data)) == before
    assert not list(data.glob("restore-practice*"))


def test_servers_may_run_meanwhile(data):
    server = Server(data, **KEYS).wait_until_it_answers()
    try:
        assert restore(data, "--practice")[0] == 0
        assert restore(data, "--yes")[0] == 1
    finally:
        server.stop()


def test_what_a_killed_practice_has_left_goes(data):
    left = data / "restore-practice"
    for again in (["restore", "latest", "--practice"], ["backup"]):
        left.mkdir(mode=0o700)
        (left / "data.sqlite3.restoring").write_bytes(b"what somebody said")
        succeed(data, *again, **KEYS)
        assert not left.exists()


def test_one_at_a_time(data):
    folder = data / "restore-practice"
    folder.mkdir()
    descriptor = os.open(folder, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    status, _, errors = restore(data, "--practice")
    os.close(descriptor)
    assert (status, "Another run is practising" in errors) == (1, True)


@pytest.mark.parametrize("options", [["--keep-old"], ["--to-table", "other"]])
def test_what_does_not_go_with_a_practice(data, options):
    arguments = ["restore", *(["latest"] if options == ["--keep-old"] else []), "--practice"]
    assert run(data, *arguments, *options).returncode == 2


def test_a_damaged_backup_fails_the_practice(data):
    backup = max((data / "backups" / "chunks").iterdir(), key=lambda path: path.stat().st_size)
    content = bytearray(backup.read_bytes())
    content[len(content) // 2] ^= 1
    backup.write_bytes(content)
    status, _, errors = restore(data, "--practice")
    assert (status, f"{backup.name} is damaged" in errors) == (1, True)


# What a backup needs


def test_a_backup_names_what_is_not_in_it(data):
    (manifest,) = (data / "backups").glob("*.json")
    needs = json.loads(manifest.read_bytes())["content"]["needs"]
    assert len(needs["secret_key"]) == 8
    assert needs["archive"].endswith("archive")
    assert KEYS["SECRET_KEY"] not in manifest.read_text()
    _, said, errors = restore(data, "--practice", SECRET_KEY="l" * 50)
    assert said["needs"] == needs
    assert f"SECRET_KEY of fingerprint {needs['secret_key']}" in errors
    _, _, errors = restore(data, "--practice", SECRET_KEY="l" * 50, SECRET_KEY_FALLBACKS="k" * 50)
    assert "fingerprint" not in errors


# The archive is lost


def test_without_the_archive_the_way_out_is_named(data):
    (data / "archive").rename(data / "gone")
    for option in ("--practice", "--dry-run", "--yes"):
        status, _, errors = restore(data, option)
        assert (status, "Is its disk mounted" in errors, "--archive-lost" in errors) == (
            1,
            True,
            True,
        )
    assert not list((data / "archive").glob("*"))


def test_a_lost_archive_is_counted_and_the_rest_goes_on(data):
    succeed(data, "erase_user", "bob", **KEYS)
    shutil.rmtree(data / "archive")
    assert restore(data, "--dry-run", "--archive-lost")[0] == 0
    status, said, errors = restore(data, "--practice", "--archive-lost")
    assert (status, said["archived"], said["not_in_archive"], said["read"]) == (0, 4, 4, 2)
    assert not (data / "archive").exists()
    status, said, errors = restore(data, "--yes", "--archive-lost")
    assert (status, said["not_in_archive"]) == (0, 4)
    assert "4 of 4 archived interactions are lost" in errors
    assert "whoever was erased since the backup was made is back" in errors
    assert stored(data) == {"hot": ["bob-1", "grace-1"], "archive": []}
    for command in (["archive_interactions"], ["erase_user", "bob"], ["verify_archive", "--stubs"]):
        succeed(data, *command, **KEYS)
    assert ids(data / "data.sqlite3") == {"grace-1"}


def test_an_archive_that_is_not_lost_stays(data):
    assert restore(data, "--yes", "--archive-lost")[1]["not_in_archive"] == 0
    assert len(stored(data)["archive"]) == 4


def test_another_database_s_archive_does_not_take_its_place(data, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    lines = json.dumps(line("carol", 40)).encode()
    succeed(other, "migrate")
    succeed(other, "import_interactions", "-", stdin=lines)
    succeed(other, "archive_interactions")
    archive = {"ARCHIVE_DIR": str(other / "archive")}
    for option in ("--dry-run", "--yes"):
        status, _, errors = restore(data, option, **archive)
        assert (status, "The archive is not the one that this database" in errors) == (1, True)
        status, _, errors = restore(data, option, "--archive-lost", **archive)
        assert (status, "Name an empty one" in errors) == (1, True)
