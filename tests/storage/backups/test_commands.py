"""backup, verify_backup and restore as cron and an operator run them."""

import json
import os
import shutil
import subprocess
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from chat.maintenance.migration import handing_over
from chat.management.commands import restore
from storage.archive import ownership
from storage.models import Lock
from storage.sqlite import in_use
from tests.chat.calls import INTERACTIONS, new, one
from tests.chat.processes import ROOT, Server, environment, give_tables, manage, run
from tests.sqlite import connect
from tests.system.reliability.disks import SmallDisk

DATABASE = "data.sqlite3"
DISK = 40 * 1024
"""Bytes: half of what a backup of an empty database takes."""


def summary(result):
    """The line of JSON that a command has printed, and its exit status."""
    (line,) = result.stdout.decode().splitlines()
    return json.loads(line), result.returncode


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prepared")
    give_tables(folder)
    assert run(folder, "create_api_key", "first").returncode == 0
    return folder


@pytest.fixture
def data(prepared, tmp_path):
    """A folder with a database that has one API key."""
    return shutil.copytree(prepared, tmp_path, dirs_exist_ok=True)


def keys(data):
    with closing(connect(data / DATABASE)) as connection:
        return [name for (name,) in connection.execute("SELECT name FROM storage_apikey")]


def test_from_backup_to_restore(data):
    made, status = summary(run(data, "backup"))
    assert (made["command"], made["status"], status) == ("backup", "done", 0)
    assert made["rows"] > 0
    assert made["bytes"] == (data / DATABASE).stat().st_size
    chunks = list((data / "backups" / "chunks").iterdir())
    assert made["written"] == sum(path.stat().st_size for path in chunks)
    assert made["recovery"] is None
    assert run(data, "create_api_key", "second").returncode == 0

    for arguments in ([], ["latest"], [made["name"]], ["--all"]):
        found, status = summary(run(data, "verify_backup", *arguments))
        assert (found["verified"], found["damaged"], status) == (1, [], 0)

    tried, status = summary(run(data, "restore", "latest", "--dry-run"))
    assert (tried["name"], tried["dry_run"], status) == (made["name"], True, 0)
    assert keys(data) == ["first", "second"]

    restored, status = summary(run(data, "restore", "latest", "--yes"))
    assert (restored["name"], restored["status"], status) == (made["name"], "done", 0)
    assert keys(data) == ["first"]
    assert run(data, "create_api_key", "third").returncode == 0


def test_a_dry_run_of_backup_makes_none(data):
    tried, status = summary(run(data, "backup", "--dry-run"))
    assert (tried["name"], status) == ("", 0)
    assert not (data / "backups").exists()


def test_expired_ones_go_with_the_next_backup_but_for_the_two_newest(data):
    made = [
        summary(run(data, "backup", "--yes", "--now", f"2026-11-0{day}T00:00:00Z"))[0]["name"]
        for day in (1, 2, 3)
    ]
    tried, _ = summary(run(data, "backup", "--dry-run", "--yes"))
    last, _ = summary(run(data, "backup", "--yes"))
    assert tried["deleted"] == last["deleted"] == made[:2]
    names = {path.name for path in (data / "backups").iterdir()}
    kept = (made[2], last["name"])
    ends = (".json", ".parts")
    assert names == {".lock", "chunks", *(f"{name}{end}" for name in kept for end in ends)}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["latest"], "Add --yes"),
        ([], "Name a backup, or a table"),
        (["latest", "--to-table", "other"], "Name a backup, or a table"),
        (["--to-table", "other", "--at", "yesterday"], "or: latest"),
        (["latest", "--yes", "--at", "2026-11-01T00:00:00Z"], "--at goes with --to-table"),
        (["--to-table", "t", "--erase-again", "--at", "2026-11-01T00:00:00Z"], "--at goes with"),
        (["--erase-again", "--practice"], "--practice changes nothing"),
        (["--erase-again"], "A restore of a backup does it by itself"),
        (["latest", "--erase-again"], "Name a backup, or a table"),
        (["--to-table", "other", "--at", "2026-11-01T00:00:00"], "time with an offset"),
        (["--to-table", "other", "--yes"], "--yes is for a backup"),
        (["--to-table", "other", "--keep-old", "--expired"], "--keep-old is for a backup"),
        (["--to-table", "other", "--erase-again", "--migrate"], "--migrate is for a backup"),
        (["--erase-again", "--to-file", "copy"], "--to-file is for a backup"),
        (["--erase-again", "--archive-lost"], "--archive-lost is for"),
    ],
)
def test_wrong_use_is_status_2(arguments, words, tmp_path, settings, capsys):
    settings.DATA_DIR = tmp_path
    with pytest.raises(SystemExit) as end:
        restore.Command().run_from_argv(["manage.py", "restore", *arguments])
    assert end.value.code == 2
    assert words in capsys.readouterr().err


def test_a_backup_is_written_to_a_plain_file(data):
    summary(run(data, "backup"))
    assert run(data, "create_api_key", "second").returncode == 0
    file = data / "copy.sqlite3"
    made, status = summary(run(data, "restore", "latest", "--to-file", str(file)))
    assert (made["file"], status) == (str(file), 0)
    with closing(connect(file)) as connection:
        assert connection.execute("SELECT name FROM storage_apikey").fetchall() == [("first",)]
    assert sorted(path.name for path in data.glob("copy*")) == ["copy.sqlite3"]
    assert file.stat().st_mode & 0o777 == 0o600
    assert keys(data) == ["first", "second"], "nothing else has changed"
    again = run(data, "restore", "latest", "--to-file", str(file))
    assert (again.returncode, b"Choose another name" in again.stderr) == (1, True)
    wrong = run(data, "restore", "latest", "--to-file", str(data / "other"), "--yes")
    assert (wrong.returncode, (data / "other").exists()) == (2, False)


def test_a_restore_with_nothing_to_restore_is_one_plain_line(data):
    result = run(data, "restore", "latest", "--yes")
    assert result.returncode == 1
    assert result.stderr.decode().splitlines() == [
        f"CommandError: There is no backup in {data / 'backups'}."
    ]


def test_every_damaged_backup_is_named(data):
    names = [summary(run(data, "backup"))[0]["name"] for _ in range(3)]
    for name in names[1:]:
        os.truncate(data / "backups" / f"{name}.parts", 40)
    result = run(data, "verify_backup", "--all")
    found, status = summary(result)
    damaged = [f"{name}.parts" for name in names[1:]]
    assert (found["verified"], found["damaged"], status) == (1, damaged, 1)
    lines = result.stderr.decode().splitlines()
    assert [name for name in damaged for line in lines if f"{name} is damaged" in line] == damaged


def test_each_backup_that_needs_a_damaged_chunk_is_named(data):
    names = [summary(run(data, "backup"))[0]["name"] for _ in range(2)]
    lists = [(data / "backups" / f"{name}.parts").read_text() for name in names]
    shared = next(each for each in json.loads(lists[0])["chunks"] if each in lists[1])
    (data / "backups" / "chunks" / f"{shared}.zst").unlink()
    result = run(data, "verify_backup", "--all")
    found, status = summary(result)
    assert (found["damaged"], status) == ([f"chunks/{shared}.zst"], 1)
    said = result.stderr.decode()
    assert all(f"{name} cannot be restored: chunks/{shared}.zst" in said for name in names)


def test_while_a_server_runs_nothing_is_restored(tmp_path):
    server = Server(tmp_path).wait_until_it_answers()
    try:
        first = server.call("POST", INTERACTIONS, new(interaction_id="first"))
        assert first[0] == 201
        assert summary(run(tmp_path, "backup"))[1] == 0, "a backup does not mind"
        assert server.call("POST", INTERACTIONS, new(interaction_id="second"))[0] == 201
        result = run(tmp_path, "restore", "latest", "--yes")
        assert result.returncode == 1
        assert "A server or another command has the database open" in result.stderr.decode()
        assert server.call("GET", one("second"))[0] == 200
    finally:
        server.stop()
    assert summary(run(tmp_path, "restore", "latest", "--yes"))[1] == 0
    server = Server(tmp_path).wait_until_it_answers()
    try:
        assert server.call("GET", one("first"))[0] == 200
        assert server.call("GET", one("second"))[0] == 404
    finally:
        server.stop()


def test_a_server_that_nobody_has_asked_yet_keeps_a_restore_out_too(data):
    assert run(data, "backup").returncode == 0
    server = Server(data).wait_until_it_answers()
    try:
        assert run(data, "restore", "latest", "--yes").returncode == 1
    finally:
        server.stop()
    assert (data / f"{DATABASE}{in_use.SUFFIX}").exists()


def test_a_full_disk_makes_no_backup(data, tmp_path):
    try:
        disk = SmallDisk(tmp_path, DISK)
    except OSError as error:
        pytest.skip(f"A small disk needs user and mount namespaces: {error}")
    with closing(disk):
        result = subprocess.run(
            [*disk.inside, *manage("backup")],
            capture_output=True,
            env=environment(data, BACKUP_DIR=str(disk.mount_point / "backups")),
            cwd=ROOT,
            check=False,
        )
        assert result.returncode == 1
        assert "full" in result.stderr.decode()
        left = {path.name for path in (disk.path / "backups").iterdir()}
        assert left <= {".lock", "chunks"}
        assert not list((disk.path / "backups" / "chunks").glob("*"))
        assert disk.free > DISK // 2


def test_production_backs_up_its_users_and_fails_without_recovery_of_the_table(
    tmp_path, dynamodb_server
):
    values = {
        "ENVIRONMENT": "production",
        "SECRET_KEY": "a secret key that is long enough for this test",
        "AWS_REGION": "eu-central-1",
        "DYNAMODB_ENDPOINT_URL": dynamodb_server.url,
        "DYNAMODB_TABLE": "backed-up",
    }
    assert run(tmp_path, "migrate", **values).returncode == 0
    result = run(tmp_path, "backup", **values)
    made, status = summary(result)
    assert (status, made["status"]) == (1, "failed")
    assert made["name"], "the SQL database is backed up all the same"
    assert b"There is no DynamoDB table backed-up" in result.stderr
    assert run(tmp_path, "dynamodb_table", "create", **values).returncode == 0
    made, status = summary(run(tmp_path, "backup", **values))
    assert status == 0
    assert made["recovery"]["table"] == "backed-up"
    assert made["recovery"]["days"] == 35
    assert summary(run(tmp_path, "restore", "latest", "--yes", **values))[1] == 0
    result = run(tmp_path, "restore", "latest", "--yes")
    assert result.returncode == 1
    assert b"it is of another ENVIRONMENT" in result.stderr


def test_production_may_have_a_file_that_once_had_the_interactions(tmp_path, dynamodb_server):
    values = {
        "ENVIRONMENT": "production",
        "SECRET_KEY": "a secret key that is long enough for this test",
        "AWS_REGION": "eu-central-1",
        "DYNAMODB_ENDPOINT_URL": dynamodb_server.url,
        "DYNAMODB_TABLE": "moved",
    }
    assert run(tmp_path, "migrate").returncode == 0
    with closing(connect(tmp_path / DATABASE)) as connection, connection:
        connection.execute(  # as migrate_storage --hand-over does
            f"INSERT INTO {Lock._meta.db_table} (name, owner, until) VALUES (?, ?, ?)",
            (ownership.LOCK, handing_over.APART, "9999-12-31 00:00:00"),
        )
    assert summary(run(tmp_path, "backup", **values))[0]["name"]
    result = run(tmp_path, "restore", "latest", "--dry-run", **values)
    assert result.returncode == 0, result.stderr


@pytest.mark.exhaustive
def test_a_table_is_restored_by_the_commands_of_the_guide(tmp_path, dynamodb_server):
    values = {
        "ENVIRONMENT": "production",
        "SECRET_KEY": "a secret key that is long enough for this test",
        "AWS_REGION": "eu-central-1",
        "DYNAMODB_ENDPOINT_URL": dynamodb_server.url,
        "DYNAMODB_TABLE": "before",
    }
    after = values | {"DYNAMODB_TABLE": "after"}
    assert run(tmp_path, "migrate", **values).returncode == 0
    assert run(tmp_path, "dynamodb_table", "create", **values).returncode == 0
    fields = {"interaction_id": "i", "user_id": "u", "message": "m", "model_used": "m"}
    created_at = (datetime.now(UTC) - timedelta(days=7)).isoformat()
    line = json.dumps(fields | {"created_at": created_at}).encode()
    assert run(tmp_path, "import_interactions", "-", stdin=line, **values).returncode == 0
    assert run(tmp_path, "archive_interactions", **values).returncode == 0
    made, status = summary(run(tmp_path, "restore", "--to-table", "after", **values))
    assert (status, made["done"][-1]) == (0, "is ready")
    made, status = summary(run(tmp_path, "restore", "--to-table", "after", **values))
    assert (status, made["done"]) == (0, ["is ready"]), "it was ready already"
    assert run(tmp_path, "dynamodb_table", "check", **after).returncode == 0
    exported = run(tmp_path, "export_interactions", "-", **after).stdout
    assert b'"interaction_id":"i"' in exported
    refused = run(tmp_path, "archive_interactions", **after)
    assert refused.returncode == 1
    assert b"The archive belongs to the table before, and this is after." in refused.stderr
    for owner, other in ((after, values), (values, after)):
        name = owner["DYNAMODB_TABLE"]
        over = run(tmp_path, "restore", "--to-table", name, "--erase-again", **other)
        assert over.returncode == 0, over.stderr
        again = run(tmp_path, "restore", "--to-table", name, "--erase-again", **owner)
        assert again.returncode == 1
        assert b"so the service may be using it. Nothing was done." in again.stderr
        assert run(tmp_path, "archive_interactions", **owner).returncode == 0
        assert run(tmp_path, "archive_interactions", **other).returncode == 1
