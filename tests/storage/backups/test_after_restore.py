"""A restored database learns what has happened since its backup, before anyone reads it."""

import json
import shutil
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from storage.archive.archive import Archive
from storage.archive.folder import ArchiveFolder
from tests.chat.processes import give_tables, run
from tests.sqlite import connect
from tests.storage.backups.conftest import ids

NOW = datetime.now(UTC)


def line(user_id, days):
    return {
        "interaction_id": f"{user_id}-{days}",
        "user_id": user_id,
        "message": f"What did {user_id} say {days} days ago?",
        "response": "Something.",
        "model_used": "model-1",
        "created_at": (NOW - timedelta(days=days)).isoformat(),
    }


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prepared")
    lines = [line(user_id, days) for user_id in ("grace", "bob") for days in (1, 40, 41)]
    give_tables(folder)
    stdin = "\n".join(map(json.dumps, lines)).encode()
    succeed(folder, "import_interactions", "-", stdin=stdin)
    return folder


@pytest.fixture
def data(prepared, tmp_path):
    """A folder with a database of two users, some of it older than the hot days."""
    return shutil.copytree(prepared, tmp_path, dirs_exist_ok=True)


def succeed(folder, *arguments, **options):
    result = run(folder, *arguments, **options)
    assert result.returncode == 0, result.stderr.decode()
    return result.stdout.decode()


def summary(folder, *arguments, **options):
    return json.loads(succeed(folder, *arguments, **options))


def stored(folder):
    """The ids in hot and in cold storage."""
    archive = Archive(ArchiveFolder(folder / "archive"))
    with closing(connect(folder / "data.sqlite3")) as connection:
        sql = "SELECT interaction_id, segment FROM storage_archivedinteraction"
        stubs = set(connection.execute(sql))
    rows = {
        (row.interaction_id, each) for each in archive.all_segments() for row in archive.rows(each)
    }
    return {
        "hot": sorted(ids(folder / "data.sqlite3")),
        "archive": sorted(interaction_id for interaction_id, _ in rows & stubs),
    }


BOB = ["bob-1", "bob-40", "bob-41"]
SETTLED = {"hot": ["bob-1"], "archive": ["bob-40", "bob-41"]}


def test_who_was_erased_since_is_erased_again(data):
    succeed(data, "backup")
    succeed(data, "erase_user", "grace")
    assert stored(data) == {"hot": BOB, "archive": []}
    assert summary(data, "restore", "latest", "--yes")["erased"] == 3
    assert stored(data) == {"hot": BOB, "archive": []}
    assert b"grace" not in (data / "data.sqlite3").read_bytes()


def test_so_is_who_was_cold_in_the_copy(data):
    succeed(data, "archive_interactions")
    succeed(data, "backup")
    succeed(data, "erase_user", "grace")
    assert summary(data, "restore", "latest", "--yes")["erased"] == 1
    assert stored(data) == SETTLED
    assert b"grace" not in (data / "data.sqlite3").read_bytes()


def test_keys_that_are_hers_or_name_her_are_forgotten_again(data):
    succeed(data, "create_api_key", "phone", "--user", "grace")
    succeed(data, "create_api_key", "Grace's watch")
    succeed(data, "create_api_key", "bob's watch")
    succeed(data, "backup")
    succeed(data, "erase_user", "grace")
    succeed(data, "create_api_key", "new phone", "--user", "grace")  # she has come back
    assert len(keys(data)) == 3
    succeed(data, "restore", "latest", "--yes")
    names = dict(keys(data))
    assert len(names) == 2
    assert "bob's watch" in names
    assert not any("race" in name for name in names)
    succeed(data, "create_api_key", "new phone", "--user", "grace")
    succeed(data, "backup")
    succeed(data, "restore", "latest", "--yes")
    assert ("new phone", "grace") in keys(data), "made after the erasure"


def keys(folder):
    with closing(connect(folder / "data.sqlite3")) as connection:
        return connection.execute("SELECT name, user_id FROM storage_apikey").fetchall()


def test_a_user_who_came_back_after_the_erasure_stays(data):
    succeed(data, "erase_user", "grace")
    new = json.dumps(line("grace", 0)).replace(NOW.isoformat(), datetime.now(UTC).isoformat())
    succeed(data, "import_interactions", "-", stdin=new.encode())
    succeed(data, "backup")
    assert summary(data, "restore", "latest", "--yes")["erased"] == 0
    assert stored(data)["hot"] == [*BOB, "grace-0"]


def test_what_was_archived_since_is_hot_again_and_then_archived_once(data):
    succeed(data, "erase_user", "grace")
    succeed(data, "backup")
    succeed(data, "archive_interactions")
    assert stored(data) == SETTLED
    succeed(data, "restore", "latest", "--yes")
    assert stored(data) == {"hot": BOB, "archive": []}
    assert summary(data, "archive_interactions")["archived"] == 2
    assert stored(data) == SETTLED
    assert not list((data / "archive" / "pending").glob("*"))


def test_what_has_changed_its_segment_since_is_found(data):
    succeed(data, "erase_user", "grace")
    succeed(data, "archive_interactions")
    succeed(data, "backup")
    for days in (40, 41):
        succeed(data, "restore_archive", (NOW - timedelta(days=days)).date().isoformat())
    succeed(data, "archive_interactions")
    succeed(data, "restore", "latest", "--yes")
    assert stored(data) == SETTLED


def test_a_ledger_of_another_secret_key_is_no_reason_to_forget_erasures(data):
    keys = {"SECRET_KEY": "k" * 50}
    succeed(data, "backup", **keys)
    succeed(data, "erase_user", "grace", **keys)
    refused = run(data, "restore", "latest", "--yes", SECRET_KEY="l" * 50)
    assert refused.returncode == 1
    assert b"SECRET_KEY_FALLBACKS" in refused.stderr
    fallbacks = {"SECRET_KEY": "l" * 50, "SECRET_KEY_FALLBACKS": "k" * 50}
    assert summary(data, "restore", "latest", "--yes", **fallbacks)["erased"] == 3
    assert stored(data)["hot"] == BOB


def test_without_the_archive_nothing_is_restored(data):
    succeed(data, "archive_interactions")
    succeed(data, "backup")
    (data / "archive").rename(data / "not mounted")
    refused = run(data, "restore", "latest", "--yes")
    assert refused.returncode == 1
    assert b"mounted" in refused.stderr
    (data / "not mounted").rename(data / "archive")
    succeed(data, "restore", "latest", "--yes")
