"""What earlier releases have made is upgraded, and nothing of it is lost.

`kept/` has a database, an archive, backups and the items of a table of each release that kept them
in another form, made by that release's own code (`make.py`):

- first: f1ac88c, the first one. SQLite with a single migration; no archive, no DynamoDB.
- second: 9cc4661, version 0.1, before 0020. Segments by time (0033), backups as whole files (0034),
  answers found by a SHA-256 (0037), no roll-ups (0039), no audit log (0044), items without
  generations (0026).
- third: eb4358a, version 0.3. Items with long names and plain texts (0047), all texts in the row
  (0046), one number of shards (0049).
"""

import json
import tarfile
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from django.core.cache.backends.dummy import DummyCache

from storage.archive.archive import configured_archive
from storage.dynamodb import upgrade
from storage.records.pages import PageQuery
from tests.chat import processes
from tests.clouds import make_storage
from tests.upgrades.make import IDEMPOTENCY_KEY, NOW, REQUEST, SECRET_KEY, rows

KEPT = Path(__file__).parent / "kept"
FIELDS = ("interaction_id", "user_id", "message", "response", "model_used", "created_at")
ROWS = {row["interaction_id"]: row for row in rows()}
COLD = {name for name, row in ROWS.items() if row["created_at"] < "2026-10-24"}
assert len(COLD) == 3


def unpack(name, folder):
    folder.mkdir(exist_ok=True)
    with tarfile.open(KEPT / f"{name}.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder


def settings_of(folder):
    return {"SECRET_KEY": SECRET_KEY, "DATABASE_URL": f"sqlite:///{folder}/chat.sqlite3"}


@pytest.fixture(params=["first", "second", "third"])
def kept(request, tmp_path):
    """The folder of a release, as it left it."""
    return unpack(request.param, tmp_path / request.param)


def run(folder, *arguments):
    ended = processes.run(folder, *arguments, **settings_of(folder))
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.decode()


def test_a_server_of_today_serves_what_a_release_has_kept(kept):
    known = json.loads((kept / "known.json").read_text(encoding="utf-8"))
    has_archive = (kept / "archive").exists()
    server = processes.Server(kept, **settings_of(kept))
    try:
        server.wait_until_it_answers()
        call = caller(server.port, known["key"])
        for name, row in ROWS.items():
            status, found = call("GET", f"/api/v1/interactions/{name}/")
            assert status == 200, name
            assert {field: found[field] for field in FIELDS} == {f: row[f] for f in FIELDS}
            assert (found.get("tier") == "archive") == (has_archive and name in COLD)
        page = call("GET", "/api/v1/interactions/?limit=4")[1]["results"]
        assert page == known["first_page"]
        target = urlsplit(known["next"])
        status, following = call("GET", f"{target.path}?{target.query}")
        if kept.name == "third":
            assert following["results"][0]["interaction_id"] == "kept-06"
        else:  # of a list without a name, so the page has to be asked for anew
            assert (status, "cursor" in str(following["errors"])) == (400, True)
        status, repeated = call("POST", "/api/v1/interactions/", REQUEST)
        assert status in (
            200,
            201,
        )  # keys are known for a day; the id is known for as long as it is
        assert repeated["created_at"] == page[0]["created_at"]
        asked = {"user_id": "grace", "message": REQUEST["message"]}
        status, answer = call("POST", "/api/v1/interactions/lookup/", asked)
        assert (status, answer["interaction_id"]) == (200, "kept-11")
    finally:
        server.interrupt()


def caller(port, key):
    headers = {"Authorization": f"Api-Key {key}", "Content-Type": "application/json"}

    def call(method, path, body=None):
        connection = HTTPConnection("127.0.0.1", port, timeout=300)
        more = {"Idempotency-Key": IDEMPOTENCY_KEY} if path.endswith("interactions/") else {}
        sent = json.dumps(body).encode() if body else None
        connection.request(method, path, sent, headers | (more if body else {}))
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer.status, json.loads(content)

    return call


@pytest.mark.parametrize("name", ["second", pytest.param("third", marks=pytest.mark.exhaustive)])
def test_maintenance_of_today_goes_on_with_its_archive_and_its_backups(name, tmp_path):
    kept = unpack(name, tmp_path)
    assert json.loads(run(kept, "verify_archive", "--stubs"))["damaged"] == []
    holds = run(kept, "legal_hold", "list")
    assert json.loads(holds.splitlines()[-1])["holds"] == 1
    restored = run(kept, "restore_archive", "2026-10-10")
    assert json.loads(restored.splitlines()[-1])["restored"] == 1
    run(kept, "archive_interactions", "--now", NOW)
    run(kept, "verify_backup")
    run(kept, "restore", "latest", "--yes", "--migrate", "--expired")
    exported = [json.loads(line) for line in run(kept, "export_interactions", "-").splitlines()]
    assert {row["interaction_id"] for row in exported} == {*ROWS, "kept-11"} - COLD


@pytest.mark.parametrize("name", ["second-table", "third-table"])
def test_a_table_of_a_release_is_served_and_upgraded(
    name, dynamodb_model, tmp_path, settings, transactional_db
):
    kept = unpack(name, tmp_path)
    place = settings.STORAGES["archive"] | {"OPTIONS": {"location": kept / "archive"}}
    settings.STORAGES = settings.STORAGES | {"archive": place}
    storage = make_storage(dynamodb_model, DummyCache("", {}), configured_archive())
    client = storage.database.client
    for item in json.loads((kept / "items.json").read_text(encoding="utf-8")):
        client.call("PutItem", Item=item)
    for _ in range(2):
        for interaction_id, row in ROWS.items():
            found = storage.get_interaction_sync(interaction_id)
            assert (found.message, found.response) == (row["message"], row["response"])
        page = storage.list_interactions_sync(PageQuery())
        hot = [name for name in ROWS if name not in COLD]
        assert [one.interaction_id for one in page.interactions] == ["kept-11", *reversed(hot)]
        *_, progress = upgrade.upgrade(client, 10_000)
    assert progress.rewritten == 0, "the first time rewrote all"
