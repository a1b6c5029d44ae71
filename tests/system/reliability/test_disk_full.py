"""A full disk: a clear refusal, nothing lost, reads go on, and so do writes once there is space.

On a small disk of its own the whole server meets the real error. Where the machine does not
allow one, `PRAGMA max_page_count` still makes SQLite itself report that it is full.
"""

import functools
import re
import shutil
from contextlib import closing
from urllib.parse import urlencode
from uuid import uuid4

import pytest
from django.db import connection

from storage.exceptions import StorageFull
from storage.models import IdempotencyRecord
from storage.models.idempotency import Idempotency
from storage.sqlite.statements import Statements
from tests.chat.calls import BATCH, INTERACTIONS, PROBLEM, ids, new, of_user, one, patch, post
from tests.system.reliability.disks import SmallDisk
from tests.system.reliability.servers import DATABASE, Client, integrity

KIB = 1024
DISK = 8 * 1024 * KIB
FULL = 507
"""Insufficient Storage: it tells the client that nothing was written."""

UNAVAILABLE = 503
NO_LIMIT = 2**32 - 2
"""Pages, the most that SQLite allows."""


@pytest.fixture
def disk(tmp_path):
    """A small disk."""
    try:
        small = SmallDisk(tmp_path, DISK)
    except OSError as error:
        pytest.skip(f"A small disk needs user and mount namespaces: {error}")
    with closing(small):
        yield small


@pytest.fixture
def start_on_disk(start, disk):
    """Starts servers with their data on the small disk."""
    return functools.partial(start, disk=disk)


def save_until_full(client, **fields):
    """What was acknowledged before the first refusal."""
    saved = []
    while (answer := client.call("POST", INTERACTIONS, new(**fields))).status == 201:
        saved.append(answer.value)
    assert is_full(answer), answer
    return saved


def is_full(answer):
    return answer.status == FULL and answer.content_type == PROBLEM


def large_writes(interaction_id):
    """Requests that need far more space than an earlier refusal can have left over."""
    large = {"response": "x" * 380_000}
    # More than SQLite's page cache holds, so that it is on the disk before it is committed.
    batch = {"interactions": [new(response="x" * 3000) for _ in range(1000)]}
    return {
        "save": ("POST", INTERACTIONS, new(**large)),
        "batch": ("POST", BATCH, batch),
        "complete": ("PATCH", one(interaction_id), large),
    }


def copied(disk, folder):
    """A copy of the database and its log as they are on the disk."""
    for name in (DATABASE, f"{DATABASE}-wal"):
        shutil.copy(disk.path / name, folder / name)
    return folder / DATABASE


@pytest.mark.parametrize(
    "space",
    [
        pytest.param(64 * KIB, id="the log cannot grow"),
        pytest.param(3500 * KIB, id="nor can the log be copied back"),
    ],
)
def test_on_a_full_disk_writes_are_refused_and_nothing_is_lost(
    tmp_path, disk, start_on_disk, space
):
    server = start_on_disk()
    disk.fill(leave=space)
    with closing(Client(server)) as client:
        saved = save_until_full(client, user_id="eve", response="x" * 3000)
        for name, request in large_writes(saved[0]["interaction_id"]).items():
            assert is_full(client.call(*request)), name
        repeat = ("POST", INTERACTIONS, new(response="x" * 380_000))
        key = {"Idempotency-Key": str(uuid4())}
        assert is_full(client.call(*repeat, **key))
        saved += save_until_full(client, user_id="eve")
        # Deleting needs space as well, if little: the log grows before the file shrinks.
        deleted = client.call("DELETE", one(saved[0]["interaction_id"]))
        assert deleted.status == 204 or is_full(deleted)
        saved = saved[1:] if deleted.status == 204 else saved
        # What was acknowledged is there, and nothing of what was refused.
        assert client.everything_of("eve") == saved[::-1]
        assert client.everything_of("ada") == []
        assert client.call("GET", one(saved[-1]["interaction_id"])).value == saved[-1]

        disk.make_room()
        # With no restart. The key was not used up by the request that was refused.
        assert client.call(*repeat, **key).status == 201
        assert client.call("DELETE", one(saved.pop(0)["interaction_id"])).status == 204
        assert client.everything_of("eve") == saved[::-1]
    server.kill()
    assert integrity(copied(disk, tmp_path)) == "ok"


def test_a_server_starts_and_reads_on_a_disk_that_became_full(disk, start_on_disk):
    server = start_on_disk()
    server.kill()
    disk.fill()
    with closing(Client(start_on_disk())) as client:
        assert client.call("GET", INTERACTIONS).status == 200
        # The log has room for some: it keeps its size when it begins again.
        saved = save_until_full(client, response="x" * 3000)
        assert client.everything_of("ada") == saved[::-1]


def test_a_login_on_a_full_disk_is_refused_clearly(disk, start_on_disk):
    server = start_on_disk()
    disk.fill()
    assert log_in(server) in (FULL, UNAVAILABLE)
    disk.make_room()
    assert log_in(server) == 302


def log_in(server):
    """The status of the answer to the admin's login form, which makes a session."""
    path = "/admin/login/"
    _, headers, page = server.request("GET", path)
    token = re.search(rb'name="csrfmiddlewaretoken" value="(\w+)"', page)[1].decode()
    name, password = server.login
    form = {"username": name, "password": password, "csrfmiddlewaretoken": token}
    sent = {
        "Cookie": headers["Set-Cookie"].partition(";")[0],
        "Content-Type": "application/x-www-form-urlencoded",
    }
    status, _, _ = server.request("POST", path, urlencode(form), sent)
    return status


LONG = "x" * 100_000
"""Still kept in the database: a larger text is an object in the archive."""


@pytest.fixture
def full_database(transactional_db):
    """Keeps the database from growing; gives what lets it grow again."""

    statements = Statements(connection.alias)

    def limit(pages):
        """For the connection through which the storage commits."""
        statements.transaction(lambda: statements.rows(f"PRAGMA max_page_count = {pages}", {}))

    with connection.cursor() as cursor:
        cursor.execute("VACUUM")  # or what other tests have left free would be filled first
    limit(1)  # the size it has, if that is more
    yield lambda: limit(NO_LIMIT)
    limit(NO_LIMIT)


def test_in_a_full_database_every_write_raises_storage_full(
    storage, make_interaction, full_database
):
    saved = []

    def save_on():
        while True:
            interaction = make_interaction(response="x" * 3000)
            storage.save_interaction_sync(interaction)
            saved.append(interaction.interaction_id)

    with pytest.raises(StorageFull):
        save_on()
    known = Idempotency(key="k" * 64, request="r" * 64)
    large = make_interaction(response=LONG)
    for write in (
        lambda: storage.create_interaction_sync(large),
        lambda: storage.create_interaction_sync(large, known),
        lambda: storage.create_interactions_sync([make_interaction(), large]),
        lambda: storage.update_interaction_sync(saved[0], {"response": LONG}),
    ):
        with pytest.raises(StorageFull):
            write()
        assert not connection.in_transaction()
    found = storage.get_user_interactions_sync("ada", 100_000)
    assert [interaction.interaction_id for interaction in found] == saved[::-1]
    assert not IdempotencyRecord.objects.exists()

    full_database()
    assert storage.create_interaction_sync(large, known) == (large, True)


def test_in_a_full_database_the_api_refuses_writes_with_507(client, full_database):
    saved = []
    while (answer := post(client, new(response="x" * 3000))).status_code == 201:
        saved.append(answer.json()["interaction_id"])
    large = {"response": LONG}
    for refused in (
        answer,
        post(client, new(**large)),
        post(client, new(**large), HTTP_IDEMPOTENCY_KEY="k"),
        post(client, {"interactions": [new(), new(**large)]}, BATCH),
        patch(client, saved[0], large),
    ):
        assert refused.status_code == FULL
        assert refused["Content-Type"] == PROBLEM
        assert int(refused["Retry-After"]) > 0
    assert ids(client.get(f"{of_user('ada')}?limit=200")) == saved[::-1]

    full_database()
    assert post(client, new(**large), HTTP_IDEMPOTENCY_KEY="k").status_code == 201
