"""`GET users/{user_id}/export/`: everything about a person as a stream of lines."""

import hashlib
import http.client
import json
import logging
import re
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from chat.maintenance.identity import confirm_archive
from storage.archive.archive import Archive
from storage.archive.folder import ArchiveFolder
from storage.exceptions import DamagedArchive, StorageUnavailable
from storage.models import ApiKey
from storage.records.json import to_json
from tests.chat.calls import PROBLEM
from tests.chat.processes import Server, give_tables, run

pytestmark = pytest.mark.every_backend

DAY = datetime(2026, 10, 3, tzinfo=UTC)


def of_user(user_id):
    return f"/api/v1/users/{quote(user_id, safe='')}/export/"


@pytest.fixture
def client(transactional_db):
    """Shows a key that may erase and export users."""
    _, key = ApiKey.objects.create_key(name="test", may_erase=True)
    return Client(headers={"Authorization": f"Api-Key {key}"})


@pytest.fixture
def archive(storage, tmp_path, monkeypatch):
    archive = Archive(ArchiveFolder(location=tmp_path / "archive"))
    monkeypatch.setattr(storage, "archive", archive)
    return archive


@pytest.fixture
def fill(storage, archive, make_interaction):
    """Saves interactions of a user; the older half, of the day before, is archived.

    Gives them as they are to come.
    """

    def fill(count, user_id="ada", **fields):
        rows = [
            make_interaction(
                user_id=user_id,
                created_at=DAY + timedelta(minutes=number, days=-(number < count // 2)),
                updated_at=DAY + timedelta(days=1),
                **{"message": f"née\u2028 {number} 😀"} | fields,
            )
            for number in range(count)
        ]
        for start in range(0, count, 100):
            storage.create_interactions_sync(rows[start : start + 100])
        if cold := rows[: count // 2]:
            segment = archive.new_segment(cold[0].created_at.date())
            archive.write(segment, cold)
            storage.move_to_cold(cold, segment)
        return [json.loads(to_json(each)) for each in reversed(rows)]

    return fill


def read(content):
    """The interactions in an answer, which must be whole."""
    assert content.endswith(b"\n")
    *lines, last = content.split(b"\n")[:-1]
    body = b"".join(line + b"\n" for line in lines)
    digest = hashlib.sha256(body).hexdigest()
    assert json.loads(last) == {"complete": True, "count": len(lines), "sha256": digest}
    return list(map(json.loads, lines))


@pytest.mark.parametrize("count", [0, 1, 250])
def test_it_streams_hot_and_cold_ones_newest_first(client, fill, count):
    expected = fill(count)
    fill(3, "bob")
    response = client.get(of_user("ada"))
    assert response.status_code == 200
    assert response.streaming
    assert response["Content-Type"] == "application/x-ndjson"
    assert "Content-Length" not in response
    assert read(b"".join(response.streaming_content)) == expected


def test_the_largest_rows(client, fill):
    size = 390_000  # in objects
    expected = fill(5, message="é" * (size // 4), response="x" * (size // 2))
    assert read(client.get(of_user("ada")).getvalue()) == expected


@pytest.mark.parametrize("user_id", ["née 😀", "a/b", "a/export", "100%", "%2F", "x" * 255])
def test_odd_user_ids(client, fill, user_id):
    expected = fill(2, user_id)
    assert read(client.get(of_user(user_id)).getvalue()) == expected


@pytest.mark.parametrize("user_id", ["nobody", "x" * 256], ids=ascii)
def test_of_somebody_unknown_there_is_nothing_to_tell(client, fill, user_id):
    fill(2)
    assert read(client.get(of_user(user_id)).getvalue()) == []


def test_head_reads_nothing(client, fill, storage, monkeypatch):
    fill(2)
    monkeypatch.setattr(storage, "hot_of_user", None)
    response = client.head(of_user("ada"))
    assert (response.status_code, response.content) == (200, b"")
    assert response["Content-Type"] == "application/x-ndjson"


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
def test_other_methods(client, storage, method):
    assert getattr(client, method)(of_user("ada")).status_code == 405


def test_query_parameters_are_refused(client, storage):
    response = client.get(of_user("ada"), {"limit": 1})
    assert (response.status_code, response["Content-Type"]) == (400, PROBLEM)


@pytest.mark.parametrize("caller", ["a key without it", "a bound key", "staff", "nobody"])
@pytest.mark.parametrize("method", ["get", "head"])
def test_only_with_the_permission(fill, make_client, caller, method):
    fill(2)
    if caller == "staff":
        staff = User.objects.create_user("ed", is_staff=True)
        staff.user_permissions.add(Permission.objects.get(codename="view_chatinteraction"))
        client = Client()
        client.force_login(staff)
    elif caller == "nobody":
        client = Client()
    else:
        client = make_client("ada" if caller == "a bound key" else "")
    response = getattr(client, method)(of_user("ada"))
    assert response.status_code == (401 if caller == "nobody" else 403)
    assert response["Content-Type"] == PROBLEM
    assert not response.streaming


@pytest.mark.parametrize("call", ["hot_of_user", "archive"])
def test_what_fails_at_once_is_a_problem(client, storage, fill, monkeypatch, call):
    def fail(*args):
        raise StorageUnavailable("away")

    fill(2)
    thing, name = (storage, call) if call != "archive" else (storage.archive, "days")
    monkeypatch.setattr(thing, name, fail)
    response = client.get(of_user("ada"))
    assert (response.status_code, response["Content-Type"]) == (503, PROBLEM)
    assert response["Retry-After"]
    assert response["Content-Length"] == str(len(response.content))


@pytest.mark.every_backend(exhaustive=True)
def test_what_fails_later_breaks_off_without_the_last_line(
    client, storage, fill, monkeypatch, caplog
):
    fill(300, "marker")
    read_hot, calls = storage.hot_of_user, []

    def fail(*args):
        calls.append(args)
        if len(calls) > 2:
            raise StorageUnavailable("away")
        return read_hot(*args)

    monkeypatch.setattr(storage, "hot_of_user", fail)
    caplog.set_level(logging.DEBUG)
    response = client.get(of_user("marker"))
    assert response.status_code == 200
    received = []
    with pytest.raises(StorageUnavailable):
        received.extend(response.streaming_content)
    whole = b"".join(received)
    assert whole.endswith(b"\n")
    assert all("interaction_id" in json.loads(line) for line in whole.splitlines())
    errors = [each for each in caplog.records if each.levelno >= logging.ERROR]
    assert len(errors) == 1
    assert "marker" not in caplog.text


@pytest.mark.every_backend(exhaustive=True)
def test_a_damaged_archive_breaks_it_off(client, fill, archive):
    fill(600)
    (segment,) = archive.segments(*archive.days())
    data = archive.manifest(segment).data
    archive.files.write(data, archive.files.read(data)[:-1])
    response = client.get(of_user("ada"))
    with pytest.raises(DamagedArchive):
        read(b"".join(response.streaming_content))


# The real server.


_PROGRAM = """
from datetime import UTC, datetime, timedelta
from storage import get_storage
from storage.models import ApiKey, ChatInteraction

for user_id, count, words in (("few", 300, 100), ("many", 6_500, 1_000)):
    ChatInteraction.objects.bulk_create(
        ChatInteraction(
            interaction_id=f"{user_id}{number}",
            user_id=user_id,
            message=f"{number} " * words,
            model_used="m",
            created_at=datetime(2026, 10, 3, tzinfo=UTC) + timedelta(seconds=number),
        )
        for number in range(count)
    )

storage = get_storage()
hot = [ChatInteraction(user_id="broken", message="x", model_used="m") for _ in range(150)]
cold = ChatInteraction(
    user_id="broken", message="x", model_used="m", created_at=datetime(2026, 10, 3, tzinfo=UTC)
)
storage.create_interactions_sync([*hot, cold])
segment = storage.archive.new_segment(cold.created_at.date())
manifest = storage.archive.write(segment, [cold])
storage.move_to_cold([cold], segment)
storage.archive.files.write(manifest.data, b"damaged")

print(ApiKey.objects.create_key(name="test", may_erase=True)[1])
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Serves a key that may export, and users of whom there is little and much."""
    folder = tmp_path_factory.mktemp("server")
    give_tables(folder)
    made = run(folder, "shell", "-v0", "-c", _PROGRAM)
    assert made.returncode == 0, made.stderr
    started = Server(folder, WORKERS="1", THREADS="8")
    started.eraser = made.stdout.decode().split()[-1]
    try:
        yield started.wait_until_it_answers()
    finally:
        started.stop()


def asked(server, user_id, method="GET"):
    """An answer whose body is still to be read; closing its connection is the test's."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=300)
    headers = {"Authorization": f"Api-Key {server.eraser}"}
    connection.request(method, of_user(user_id), headers=headers)
    return connection, connection.getresponse()


def worker(server):
    """The process that answers: the youngest of those below the one that was started."""
    pid = server._process.pid
    while children := Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        pid = int(children[-1])
    return pid


def memory(pid):
    """Megabytes of memory in use, and the most there ever were."""
    status = Path(f"/proc/{pid}/status").read_text()
    return [int(re.search(rf"{name}:\s+(\d+)", status)[1]) / 1024 for name in ("VmRSS", "VmHWM")]


@pytest.mark.on_sqlite(reason="a process of its own")
def test_the_server_streams_it_whole_and_goes_on(server):
    for method, user_id, count in (("GET", "few", 300), ("HEAD", "few", 0), ("GET", "none", 0)):
        connection, response = asked(server, user_id, method)
        assert response.status == 200
        assert response.headers["Content-Type"] == "application/x-ndjson"
        content = response.read()
        if method == "HEAD":
            assert content == b""
        else:
            assert response.headers["Transfer-Encoding"] == "chunked"
            assert len(read(content)) == count
        connection.request("GET", "/healthz")
        assert connection.getresponse().read()
        connection.close()


@pytest.mark.on_sqlite(reason="a process of its own")
def test_memory_is_flat_whatever_there_is_and_however_slowly_it_is_read(server):
    connection, response = asked(server, "few")
    response.read()
    connection.close()
    before, _ = memory(worker(server))
    connection, response = asked(server, "many")
    content = response.read(1_000_000)
    time.sleep(1)  # the server could read on, and must not
    content += response.read()
    connection.close()
    assert len(read(content)) == 6_500
    _, most = memory(worker(server))
    assert len(content) > 30_000_000
    assert most - before < 40


@pytest.mark.on_sqlite(reason="a process of its own")
def test_clients_that_leave_take_nothing_with_them(server):
    for _ in range(12):
        connection, response = asked(server, "many")
        response.read(100_000)
        response.close()
        connection.close()
    for _ in range(8):
        connection, response = asked(server, "few")
        assert len(read(response.read())) == 300
        connection.close()


@pytest.mark.on_sqlite(reason="a process of its own")
def test_clients_that_read_slowly_hold_no_connection_to_the_database(server):
    """More of them than there are pooled connections would else keep the others waiting."""
    slow = [asked(server, "many") for _ in range(6)]
    for _, response in slow:
        response.read(1000)
    last = asked(server, "few")
    assert len(read(last[1].read())) == 300
    for connection, response in [*slow, last]:
        response.close()
        connection.close()


@pytest.mark.on_sqlite(reason="a process of its own")
def test_a_stream_that_the_store_cannot_end_has_no_last_line(server):
    """granian ends it as if it were whole, so nothing but the last line tells."""
    connection, response = asked(server, "broken")
    assert response.status == 200
    try:
        content = response.read()
    except http.client.IncompleteRead as cut:
        content = cut.partial
    connection.close()
    assert len(content.splitlines()) == 100
    assert content.endswith(b"\n")
    assert b'"complete"' not in content
    assert "An export was cut short" in server.output
    assert "broken" not in server.output


@pytest.mark.on_sqlite(reason="processes of its own")
def test_a_stream_that_the_server_cannot_end_is_seen_to_be_cut(server):
    connection, response = asked(server, "many")
    content = response.read(500_000)
    subprocess.run(["kill", "-KILL", str(worker(server))], check=True)
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        content += response.read()
    connection.close()
    with pytest.raises((AssertionError, ValueError)):
        read(content)


def test_without_its_archive_there_is_no_export_that_looks_complete(
    client, storage, archive, fill, tmp_path, monkeypatch
):
    confirm_archive(storage)
    fill(4)
    assert client.get(of_user("ada")).status_code == 200
    monkeypatch.setattr(storage, "archive", Archive(ArchiveFolder(tmp_path / "not mounted")))
    response = client.get(of_user("ada"))
    assert (response.status_code, response["Content-Type"]) == (503, PROBLEM)
