"""Every file that any command or server makes is for its owner alone: it holds what users said."""

import json
import stat

import pytest
from django.core.management import get_commands

from tests.chat import fork_server
from tests.chat.calls import INTERACTIONS, new, one
from tests.chat.lines import lines
from tests.chat.processes import Server, environment

DAY = "2026-03-01"


def commands(out):
    """Each command with arguments that make it write what it can, in an order that makes sense."""
    return [
        ["migrate", "--verbosity=0"],
        ["import_interactions", str(out / "lines.jsonl")],
        ["create_api_key", "test", "--user=ada"],
        ["export_interactions", str(out / "all.jsonl.zst")],
        ["archive_interactions"],
        ["backup"],
        ["verify_backup"],
        ["legal_hold", "add", "--user=bob", "--reason=test"],
        ["export_user", "ada", f"--output={out / 'ada'}"],
        ["restore_archive", DAY],
        ["archive_interactions"],
        ["erase_user", "ada"],
        ["purge_interactions"],
        ["verify_archive"],
        ["verify_audit"],
        ["unlock_login", "root"],
        ["second_factor", "root"],
        ["storage_status"],
        ["cache_audit"],
        ["intake"],
        ["usage"],
        ["rebuild_usage"],
        ["rebuild_search"],
        ["dynamodb_table", "create"],
        ["migrate_storage", "--from=local", "--to=cloud"],
        ["restore", "latest", "--yes", "--keep-old"],
        ["dumpdata", f"--output={out / 'dump.json'}", "--verbosity=0"],
        ["spectacular", f"--file={out / 'schema.yml'}"],
    ]


NOT_RUN = {"serve"}  # below, as a process that stays
MAY_FAIL = {
    "rebuild_search",
    "cache_audit",
    "migrate_storage",
    "second_factor",
}
"""They end with an error: there is no Redis, no second place, no such account."""


@pytest.fixture
def out(tmp_path):
    """Where an operator keeps exports. Others may look into the folder."""
    out = tmp_path / "out"
    out.mkdir()
    out.chmod(0o755)
    source = out / "lines.jsonl"
    source.write_bytes(lines(3))
    source.chmod(0o644)
    return out


def values(backend, request):
    """The settings with which commands run."""
    from tests.clouds import REGION

    shared = {
        "DATABASE_URL": "",  # in DATA_DIR, which does not exist yet
        "AWS_REGION": REGION,
        "DYNAMODB_ENDPOINT_URL": request.getfixturevalue("dynamodb_server").url,
        "DYNAMODB_TABLE": f"modes-{backend}",
        "SECRET_KEY": "a secret key for this test, as long as it must be",
    }
    if backend == "sqlite":
        return shared | {"SECRET_KEY": ""}
    return shared | {"ENVIRONMENT": "production"}


def run_all(words, folder, **values):
    finished = fork_server.run(
        ["-m", "tests.chat.every_command"],
        environment(folder, **values),
        json.dumps(words).encode(),
        preloaded=True,
    )
    assert finished.returncode == 0, finished.stderr.decode()
    statuses = json.loads(finished.stdout.splitlines()[-1])
    return {name[0]: status for name, status in zip(words, statuses, strict=True)}, finished


def open_to_others(folder):
    return {
        f"{path.relative_to(folder)}: {stat.S_IMODE(path.lstat().st_mode):o}"
        for path in (folder, *folder.rglob("*"))
        if not path.is_symlink() and path.lstat().st_mode & 0o077
    }


def test_no_command_is_missing_here(tmp_path):
    ours = {name for name, app in get_commands().items() if app in ("chat", "storage")}
    assert ours == ({words[0] for words in commands(tmp_path)} & ours) | NOT_RUN


@pytest.mark.parametrize("backend", ["sqlite", "dynamodb"], indirect=False)
def test_what_commands_make(tmp_path, out, request, backend):
    data = tmp_path / "new" / "data"
    words = commands(out)
    if backend == "dynamodb":  # the table comes first
        words.sort(key=lambda command: command[0] != "dynamodb_table")
    statuses, finished = run_all(words, data, **values(backend, request))
    failed = {name for name, status in statuses.items() if status}
    assert failed <= MAY_FAIL, finished.stderr.decode()
    made = {path.name for path in data.rglob("*")}
    assert {"chat.sqlite3", "chat.sqlite3.in-use", "archive", "backups"} <= made
    assert {"backup.prom", "metrics-of-commands"} <= made
    assert {"all.jsonl.zst", "ada", "dump.json"} <= {path.name for path in out.iterdir()}
    assert open_to_others(tmp_path / "new") == set()
    assert open_to_others(out) == {".: 755", "lines.jsonl: 644"}


def test_what_a_server_makes(tmp_path):
    data = tmp_path / "data"
    data.mkdir(0o700)
    server = Server(data, DATABASE_URL="", WORKERS="2")
    try:
        server.wait_until_it_answers()
        assert server.call("POST", INTERACTIONS, new(interaction_id="x"))[0] == 201
        assert server.call("GET", one("x"))[0] == 200
        headers = {"Authorization": f"Api-Key {server.key}"}
        assert server.request("GET", "/metrics", headers=headers)[0] == 200
        made = {path.name for path in data.iterdir()}
        assert {"chat.sqlite3", "chat.sqlite3-wal", "chat.sqlite3-shm", "metrics"} <= made
        assert {"chat.sqlite3.in-use", "chat.sqlite3.migrate.lock", "login.json"} <= made
        assert "secret_key" in made
        assert open_to_others(data) == set()
    finally:
        server.stop()
