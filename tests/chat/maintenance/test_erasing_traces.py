"""After an erasure no byte of the person is anywhere: in files, tables, caches, servers, logs.

Each value of the person has a marker. The same search finds it in every layer before.
"""

import json
import re
import threading
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
import redis
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.db import connection

from storage.archive.archive import Archive
from storage.compat import zstd
from storage.dynamodb.database import DynamoDBDatabase
from storage.dynamodb.texts import PACKED, unpack_texts
from storage.models import ApiKey
from storage.models.idempotency import Idempotency
from storage.records.questions import Question
from storage.startup import selection
from tests import clouds
from tests.buckets import contents, make_bucket
from tests.chat import processes
from tests.chat.calls import LOOKUP, of_user, one
from tests.chat.lines import command
from tests.chat.maintenance.fake_maintenance import copy_database
from tests.servers import wait_for
from tests.sqlite import connect

NOW = datetime.now(UTC)
FIELDS = ("interaction_id", "user_id", "message", "response")
SENT = (*FIELDS, "model_used")
ROWS = 6
TABLES = (
    "storage_chatinteraction",
    "storage_idempotencyrecord",
    "storage_apikey",
    "storage_usageofuser",
)


class Person:
    """Somebody whose every value has a marker, but the model's, which is counted."""

    def __init__(self):
        self.marker = uuid4().hex
        self.user_id = f"user/{self.marker}"

    def row(self, number, age):
        """One interaction, created so many days ago."""
        fields = {name: f"{name}-{number}-{self.marker}" for name in FIELDS}
        fields["message"] = f"message {number} {self.marker} " * 50
        return fields | {
            "user_id": self.user_id,
            "model_used": "model",
            "created_at": (NOW - timedelta(days=age, seconds=number)).isoformat(),
        }


@pytest.fixture
def ada():
    return Person()


@pytest.fixture
def bob():
    return Person()


def unpacked(name, content):
    return zstd.decompress(content) if name.endswith(".zst") else content


def found_in(files, marker):
    """The names, of (name, content), that have a marker in them or in what they hold."""
    wanted = marker.encode()
    return sorted(
        {name for name, content in files if marker in name or wanted in unpacked(name, content)}
    )


def files_in(folder):
    for path in sorted(Path(folder).rglob("*")):
        if path.is_file():
            yield str(path.relative_to(folder)), path.read_bytes()


# SQLite, a folder, and two servers.


class Site:
    """A data folder with servers at work, and the commands beside them."""

    def __init__(self, folder):
        self.folder = folder
        self.servers = []

    def start(self):
        server = processes.Server(self.folder)
        self.servers.append(server)
        server.wait_until_it_answers()
        return server

    def run(self, *arguments, stdin=b"", status=0):
        ended = processes.run(self.folder, *arguments, stdin=stdin)
        assert ended.returncode == status, ended.stderr
        return ended

    def call(self, server, method, path, value=None, **headers):
        headers = {"Authorization": f"Api-Key {self.servers[0].key}"} | headers
        body = None if value is None else json.dumps(value)
        headers["Content-Type"] = "application/json"
        return server.request(method, path, body, headers)

    def found(self, person):
        """The files of the folder that have something of a person."""
        return found_in(files_in(self.folder), person.marker)

    def seen(self, server, person, rows):
        """All that a server shows of a person: by id, in lists, as an answer."""
        paths = [one(row["interaction_id"]) for row in rows]
        paths += [of_user(person.user_id), f"{of_user(person.user_id)}{PERIOD}"]
        answers = [self.call(server, "GET", path) for path in paths]
        for row in rows:
            question = {"user_id": person.user_id, "message": row["message"]}
            answers.append(self.call(server, "POST", LOOKUP, question))
        return [(status, without_time(body)) for status, _, body in answers]


def without_time(body):
    """A list says where the archive begins, which goes on as time does; each problem has an id."""
    return re.sub(rb'"(archived_until|request_id)":"[^"]*"', b"", body)


PERIOD = (
    f"?tier=archive&created_after={(NOW - timedelta(days=60)).strftime('%Y-%m-%dT00:00:00Z')}"
    f"&created_before={(NOW - timedelta(days=31)).strftime('%Y-%m-%dT00:00:00Z')}"
)


@pytest.fixture
def site(transactional_db, tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    copy_database(folder)
    site = Site(folder)
    yield site
    for server in site.servers:
        server.stop()


def fill_site(site, person):
    """Rows of all kinds, hot and cold, archived by the command; a key that is bound to them."""
    old = [person.row(number, 40) for number in range(ROWS)]
    lines = "\n".join(json.dumps(row | {"updated_at": row["created_at"]}) for row in old)
    site.run("import_interactions", "-", stdin=lines.encode())
    hot = [person.row(ROWS + number, 0) for number in range(ROWS)]
    for row in hot:
        body = {name: row[name] for name in SENT}
        key = {"Idempotency-Key": uuid4().hex}
        status, _, answer = site.call(site.servers[0], "POST", "/api/v1/interactions/", body, **key)
        assert status == 201, answer
    site.run("archive_interactions")
    site.run("create_api_key", "phone", "--user", person.user_id)
    with closing(connect(site.folder / "data.sqlite3")) as database, database:
        database.execute(
            "INSERT INTO django_admin_log (object_id, object_repr, action_flag, change_message,"
            " content_type_id, user_id, action_time) SELECT k.id, ?, 1, '', c.id, 1, k.created"
            " FROM storage_apikey k, django_content_type c"
            " WHERE k.user_id = ? AND c.model = 'apikey' AND c.app_label = 'storage'",
            [f"phone of {person.marker}", person.user_id],
        )
        assert database.execute("SELECT changes()").fetchone() == (1,)
    return old + hot


def layers(files):
    kinds = {
        "zst": "archive",
        "sqlite3": "database",
        "sqlite3-wal": "log of the database",
        "search": "index",
        "search-wal": "index",
    }
    return {kinds.get(name.rpartition(".")[2], name) for name in files}


def wait_for_index(site, person):
    """A thread of the server indexes what was saved."""
    wait_for(lambda: "index" in layers(site.found(person)), "the indexing")


def others(site, person):
    """All rows of the SQL database but those of a person, as they are."""
    with closing(connect(site.folder / "data.sqlite3")) as database:
        return [
            row
            for table in TABLES
            for row in database.execute(f"SELECT * FROM {table} ORDER BY 1")
            if person.marker not in repr(row)
        ]


def test_nothing_is_left_of_a_person_in_files_and_servers(site, ada, bob):
    first = site.start()
    second = site.start()
    mine = fill_site(site, ada)
    with closing(connect(site.folder / "data.sqlite3")) as database:
        database.execute("PRAGMA wal_checkpoint(PASSIVE)")  # else all might be in the log alone
    his = fill_site(site, bob)
    for server in (first, second, first, second):  # cached by id, and as answers
        assert {status for status, _ in site.seen(server, ada, mine)} == {200, 404}
        seen_of_bob = site.seen(server, bob, his)
    wait_for_index(site, ada)
    assert layers(site.found(ada)) >= {"archive", "database", "log of the database", "index"}
    rows_of_others = others(site, ada)

    ended = site.run("erase_user", ada.user_id)
    receipt = json.loads(ended.stdout)["erasures"][0]["receipt"]
    assert receipt["erased"] == {
        "hot": ROWS,
        "cold": ROWS,
        "idempotency_records": ROWS,
        "api_keys": 1,
        "log_entries": 1,
    }
    assert site.found(ada) == []
    for server in (second, first):
        answers = site.seen(server, ada, mine)
        assert [body for _, body in answers if ada.marker.encode() in body] == []
        assert [status for status, _ in answers].count(404) == len(answers) - 2
        assert site.seen(server, bob, his) == seen_of_bob
    assert site.found(ada) == []
    assert others(site, ada) == rows_of_others
    assert ada.marker.encode() not in ended.stdout + ended.stderr


def test_nor_of_one_who_chats_on_and_is_erased_over_the_api(site, ada, bob):
    server = site.start()
    fill_site(site, ada)
    his = fill_site(site, bob)
    before = site.seen(server, bob, his)
    wait_for_index(site, ada)
    key = site.run("create_api_key", "privacy", "--may-erase").stdout.decode().strip()
    stopped = threading.Event()
    statuses = set()

    def chat():
        number = 1000
        while not stopped.is_set():
            number += 1
            row = ada.row(number, 0)
            body = {name: row[name] for name in SENT}
            statuses.add(site.call(server, "POST", "/api/v1/interactions/", body)[0])
            statuses.add(site.call(server, "GET", of_user(ada.user_id))[0])

    path = f"/api/v1/users/{ada.user_id}/"
    header = {"Authorization": f"Api-Key {key}"}
    chatting = threading.Thread(target=chat)
    chatting.start()
    try:
        status, _, answer = site.call(server, "DELETE", path, **header)
        assert status in (200, 202), answer
    finally:
        stopped.set()
        chatting.join()
    assert statuses == {200, 201}
    status, headers, answer = site.call(server, "DELETE", path, **header)
    assert status == 200, answer
    assert ada.marker not in answer.decode() + headers["Location"]
    assert site.found(ada) == []
    assert site.seen(server, bob, his) == before
    assert [name for name, content in files_in(site.folder) if name.startswith("output")]


# DynamoDB, S3 and Redis.


@pytest.fixture
def cloud(transactional_db, dynamodb_model, valkey_server, s3_server, monkeypatch, settings):
    """What production has."""
    settings.RETENTION_HOT_DAYS = 30
    monkeypatch.setattr(DynamoDBDatabase, "index_lag_seconds", 0)
    cache = clouds.make_cache(f"redis://127.0.0.1:{valkey_server.port}/7")
    bucket = make_bucket(s3_server.url, versions=True)
    cloud = clouds.make_storage(dynamodb_model, cache, Archive(bucket))
    monkeypatch.setattr(selection, "_storage_of", lambda process_id: cloud)
    cloud.bucket = bucket
    with redis.Redis(port=valkey_server.port, db=7) as raw:
        cloud.raw = raw
        yield cloud


def texts_in(item):
    """What is compressed in an item; stubs and rows that are no interactions have no texts."""
    return unpack_texts(item) if PACKED in item else ()


def places(cloud, marker):
    """Where in the cloud, and in the SQL database beside it, there is a marker."""
    wanted = marker.encode()
    items = cloud.database.client.call("Scan", ConsistentRead=True)["Items"]
    found = {"table" for item in items if marker in f"{item}{texts_in(item)}"}
    for key in cloud.raw.scan_iter():
        if wanted in key or wanted in cloud.raw.get(key):
            found.add("cache")
    for name in contents(cloud.bucket):
        content = cloud.bucket.read_range(name, 0, None)
        if found_in([(name, content)], marker):
            found.add("archive")
    database = Path(connection.settings_dict["NAME"])
    if found_in(
        [(each.name, each.read_bytes()) for each in database.parent.glob(f"{database.name}*")],
        marker,
    ):
        found.add("SQL database")
    return found


def fill_cloud(cloud, person, make_interaction):
    """Rows, hot and cold, in the cache in every way, with keys that are bound to the person."""
    rows = []
    for number in range(ROWS):
        fields = person.row(number, 40 if number % 2 else 0)
        at = datetime.fromisoformat(fields["created_at"])
        rows.append(make_interaction(**(fields | {"created_at": at, "updated_at": at})))
        cloud.create_interaction_sync(rows[-1], Idempotency(f"{person.marker}{number}"[-64:], "r"))
    command("archive_interactions")
    for _ in range(3):  # leases of writers end; then it is cached
        for row in rows:
            cloud.get_json_sync(row.interaction_id)
            cloud.find_answer_sync(Question(person.user_id, row.message))
            cloud.find_answer_sync(Question(person.user_id, row.message, row.model_used))
    cloud.cache_set_sync(f"chat:{person.user_id}:{'0' * 64}", person.marker, 600)
    key, _ = ApiKey.objects.create_key(name="phone", user_id=person.user_id)
    LogEntry.objects.create(
        user=User.objects.get_or_create(username="staff")[0],
        content_type=ContentType.objects.get_for_model(ApiKey),
        object_id=key.pk,
        object_repr=f"phone of {person.marker}",
        action_flag=CHANGE,
    )
    return [row.interaction_id for row in rows]


def test_nothing_is_left_of_a_person_in_the_cloud(cloud, ada, bob, make_interaction):
    mine = fill_cloud(cloud, ada, make_interaction)
    his = fill_cloud(cloud, bob, make_interaction)
    everywhere = {"table", "cache", "archive", "SQL database"}
    assert places(cloud, ada.marker) == places(cloud, bob.marker) == everywhere
    before = [cloud.get_json_sync(interaction_id) for interaction_id in his]
    assert cloud.raw.get(next(cloud.raw.scan_iter(match=f"chat:{bob.user_id}:*"))) is not None

    status, said, errors = command("erase_user", ada.user_id)
    assert status == 0, errors
    erased = json.loads(said)["erasures"][0]["receipt"]["erased"]
    assert erased.pop("cached") >= 1
    assert erased == {
        "hot": ROWS // 2,
        "cold": ROWS // 2,
        "idempotency_records": ROWS,
        "api_keys": 1,
        "log_entries": 1,
    }
    assert places(cloud, ada.marker) == set()
    assert [cloud.get_json_sync(interaction_id) for interaction_id in mine] == [None] * ROWS
    assert cloud.get_user_interactions_sync(ada.user_id, 10) == []
    assert cloud.cache_get_sync(f"chat:{ada.user_id}:{'0' * 64}") is None
    assert places(cloud, ada.marker) == set(), "reading has brought something back"
    assert [cloud.get_json_sync(interaction_id) for interaction_id in his] == before
    assert cloud.cache_get_sync(f"chat:{bob.user_id}:{'0' * 64}") == bob.marker
    assert places(cloud, bob.marker) == everywhere
    assert ada.marker not in said + errors
