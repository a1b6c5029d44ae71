"""Every command on a folder with nothing in it, on a later database, and on none at all."""

import json
import sqlite3
from contextlib import closing

import pytest
from django.core.management import get_commands

from tests.chat import fork_server
from tests.chat.processes import environment, run

OURS = {name: app for name, app in get_commands().items() if app in ("chat", "storage")}

LINE = (
    '{"interaction_id": "i", "user_id": "ada", "message": "m", "model_used": "x", '
    '"created_at": "2026-11-01T00:00:00Z"}\n'
)

ARGUMENTS = {
    "create_api_key": ["a service"],
    "dynamodb_table": ["describe"],
    "erase_user": ["ada"],
    "export_interactions": ["-"],
    "export_user": ["ada", "--output", "{folder}/export"],
    "import_interactions": ["-"],
    "legal_hold": ["list"],
    "migrate_storage": ["--from", "local", "--to", "cloud"],
    "second_factor": ["nobody"],
    "restore": ["latest", "--yes"],
    "restore_archive": ["2026-01-01"],
    "unlock_login": ["root"],
}
"""What a command needs. One that is not here is called without."""

DJANGOS = {
    "changepassword": ["nobody"],
    "check": [],
    "clearsessions": [],
    "createsuperuser": ["--no-input", "--username", "root", "--email", "root@example.org"],
    "dumpdata": [],
    "flush": ["--no-input"],
    "migrate": [],
    "shell": ["--no-imports", "-c", "from storage.models import Lock; print(Lock.objects.count())"],
    "showmigrations": [],
}

COMMANDS = [(name, ARGUMENTS.get(name, [])) for name in sorted(OURS) if name != "serve"] + sorted(
    DJANGOS.items()
)

MAY_FAIL = {
    "changepassword": "user 'nobody' does not exist",
    "erase_user": "",
    "export_user": "",
    "dynamodb_table": "AWS_REGION is not set",
    "migrate_storage": "AWS_REGION is not set",
    "second_factor": "There is no account nobody",
    "restore": "There is no backup in ",
    "restore_archive": "Neither the archive nor the database has anything of 2026-01-01",
    "verify_backup": "There is no backup in ",
}
"""Commands that have nothing to work on, and what they say then."""


def settings_of(database):
    with closing(sqlite3.connect(database)) as connection:
        (auto_vacuum,) = connection.execute("PRAGMA auto_vacuum").fetchone()
        tables = connection.execute("SELECT name FROM sqlite_master").fetchall()
    return auto_vacuum, "storage_lock" in {name for (name,) in tables}


def last_line(said):
    """The one line in which a command says what is wrong; "" if it says nothing."""
    lines = said.strip().splitlines()
    return lines[-1] if lines else ""


def run_all(folder, commands):
    """Run them as forks of one process, each on an empty folder: see `commands_in_forks`."""
    done = fork_server.run(
        ["-m", "tests.chat.commands_in_forks", folder],
        environment(folder / "data", DATABASE_URL=""),
        json.dumps({name: [words, LINE] for name, words in commands.items()}).encode(),
        preloaded=True,
    )
    assert (done.returncode, done.stdout) == (0, b""), done.stderr


@pytest.fixture(scope="module")
def on_empty_folders(tmp_path_factory):
    """Where what each command has made and said is."""
    folder = tmp_path_factory.mktemp("commands")
    filled = {
        name: [name, *(word.format(folder=folder / name) for word in words)]
        for name, words in COMMANDS
    }
    run_all(folder, filled)
    return folder


@pytest.mark.parametrize("name", [name for name, _ in COMMANDS])
def test_it_works_on_an_empty_folder(on_empty_folders, name):
    place = on_empty_folders / name
    said = (place / "stderr").read_text()
    assert "Traceback" not in said
    assert "no such table" not in said
    status = int((place / "status").read_text())
    assert status == 0 or MAY_FAIL.get(name, "?") in last_line(said), said
    database = place / "data" / "chat.sqlite3"
    if name not in ("check", "dynamodb_table", "restore", "showmigrations", "verify_backup"):
        assert settings_of(database) == (2, True)  # auto_vacuum = INCREMENTAL, and all tables
    if name == "verify_backup":  # as on a machine that has backups alone
        assert not database.exists()


@pytest.fixture(scope="module")
def helps(tmp_path_factory):
    folder = tmp_path_factory.mktemp("helps")
    run_all(folder, {name: [name, "--help"] for name in OURS})
    return folder


@pytest.mark.parametrize("name", sorted(OURS))
def test_its_help_makes_no_database(helps, name):
    place = helps / name
    assert ((place / "status").read_text(), (place / "stderr").read_text()) == ("0", "")
    assert (place / "stdout").read_text().startswith("usage: manage.py")
    assert not (place / "data" / "chat.sqlite3").exists()


@pytest.fixture(scope="module")
def later(tmp_path_factory):
    """A folder with a database to which a later version has given a migration of each."""
    folder = tmp_path_factory.mktemp("later")
    assert run(folder, "storage_status", DATABASE_URL="").returncode == 0
    with closing(sqlite3.connect(folder / "chat.sqlite3")) as connection:
        for app in ("storage", "auth", "gone"):
            connection.execute(
                "INSERT INTO django_migrations (app, name, applied) VALUES (?, ?, '2030-01-01')",
                (app, "0999_later"),
            )
        connection.commit()
    return folder


@pytest.mark.parametrize("name", ["serve", "storage_status", "purge_interactions", "dumpdata"])
def test_a_database_of_a_later_version_is_left_alone(later, name):
    result = run(later, name, DATABASE_URL="")
    assert result.returncode == 1
    (line,) = result.stderr.decode().splitlines()
    assert f"A later version has migrated {later}/chat.sqlite3" in line
    assert "this version lacks auth.0999_later, storage.0999_later. Start the version" in line


@pytest.mark.parametrize("name", ["storage_status", "createsuperuser", "dumpdata", "migrate"])
def test_a_database_that_cannot_be_opened_is_one_line(tmp_path, name):
    (tmp_path / "file").touch()
    url = f"sqlite:///{tmp_path}/file/data.sqlite3"
    result = run(tmp_path, name, DATABASE_URL=url)
    assert result.returncode == 1
    (line,) = result.stderr.decode().splitlines()
    assert line.startswith(f"The database cannot be {tmp_path}/file/data.sqlite3: File exists")


def test_a_file_that_is_no_database_is_one_line(tmp_path):
    (tmp_path / "data.sqlite3").write_text("This is no database. " * 1000)
    result = run(tmp_path, "storage_status")
    assert result.returncode == 1
    (line,) = result.stderr.decode().splitlines()
    assert line == "CommandError: The database failed: file is not a database."
