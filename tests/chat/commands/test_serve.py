"""`manage.py serve`: what a newcomer sees, and what strange clients cannot do to it."""

import http.client
import http.cookiejar
import json
import re
import shutil
import threading
import time
import urllib.parse
import urllib.request
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from chat.api.bodies import BATCH_BODY_LIMIT, BODY_LIMIT
from chat.management.commands.serve import KILL_SECONDS
from config import stalled
from tests.chat.calls import BATCH, INTERACTIONS, PROBLEM, new, of_user, one
from tests.chat.processes import COMMAND_SECONDS, Server, run
from tests.servers import wait_for

SAMPLES_AT_LEAST = 24
HASTY = "tests.chat.hasty_settings"


def logged_in(server):
    """Whether the printed login opens the admin."""
    return get_in(server, *server.login)


def get_in(server, name, password):
    """Whether a login opens the admin."""
    opener = urllib.request.build_opener(
        urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
    )
    address = f"http://127.0.0.1:{server.port}/admin/login/?next=/admin/"
    with opener.open(address) as page:
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page.read().decode())[1]
    form = {"username": name, "password": password, "csrfmiddlewaretoken": token}
    with opener.open(address, urllib.parse.urlencode(form).encode()) as page:
        return page.url.endswith("/admin/") and "Log out" in page.read().decode()


def every(server, path):
    """All interactions of a list, page by page."""
    found = []
    while path:
        status, page = server.call("GET", path)
        assert status == 200
        found += page["results"]
        path = page["next"] and page["next"].removeprefix(f"http://127.0.0.1:{server.port}")
    return found


def samples(server):
    """What was there before anyone has saved anything."""
    before = urllib.parse.quote(server.started.isoformat())
    return every(server, f"{INTERACTIONS}?limit=200&created_before={before}")


@pytest.fixture
def start(tmp_path):
    """Starts servers whose data is in this test's folder; they end with the test."""
    started = []

    def begin(**values):
        started.append(Server(tmp_path, **values))
        return started[-1]

    yield begin
    for server in started:
        server.stop()


def test_it_prints_where_to_go_and_how_to_get_in(server):
    assert f"http://127.0.0.1:{server.port}/admin/" in server.output
    assert f"http://127.0.0.1:{server.port}/api/docs/" in server.output
    assert server.call("GET", INTERACTIONS)[0] == 200
    assert logged_in(server)


def test_a_newcomer_finds_sample_conversations(server):
    found = samples(server)
    assert len(found) >= SAMPLES_AT_LEAST
    assert len({sample["user_id"] for sample in found}) >= 3
    assert len({sample["model_used"] for sample in found}) >= 2
    oldest, newest = found[-1]["created_at"], found[0]["created_at"]
    assert oldest < (server.started - timedelta(days=30)).isoformat()
    assert newest > (server.started - timedelta(days=1)).isoformat()


def test_ctrl_c_ends_it_and_a_second_start_keeps_login_and_data(start):
    # Two workers, of which one may still be starting when the other has answered: a signal
    # that reaches all processes at once must end both.
    # With an `exec` of its own, not that of the fork server.
    first = start(WORKERS="2", executed=True).wait_until_it_answers()
    assert b"MALLOC_ARENA_MAX=2" in Path(f"/proc/{first.process_id}/environ").read_bytes()
    mine = first.call("POST", INTERACTIONS, new(interaction_id="mine"))[1]
    whole = every(first, INTERACTIONS)
    assert first.interrupt() == 0
    assert "Traceback" not in first.output

    second = start().wait_until_it_answers()
    assert (second.key, second.login) == (first.key, first.login)
    assert second.call("GET", one("mine"))[1] == mine
    assert every(second, INTERACTIONS) == whole
    assert second.interrupt() == 0


def test_two_servers_may_start_at_the_same_moment_on_nothing(tmp_path, start):
    own = {"DATABASE_URL": f"sqlite:///{tmp_path}/data.sqlite3"}  # others find their tables
    both = [start(**own), start(**own)]
    for server in both:
        server.wait_until_it_answers()
    assert both[0].login == both[1].login
    assert both[0].key == both[1].key
    for server in both:
        assert logged_in(server)
    found = samples(both[0])
    assert len(found) == len({(sample["user_id"], sample["message"]) for sample in found})
    assert len(found) >= SAMPLES_AT_LEAST


def test_files_that_a_crash_left_empty_do_not_stop_a_start(tmp_path, start):
    """They are first made and then written; a power loss between the two leaves them empty."""
    for name in ("secret_key", "login.json"):
        (tmp_path / name).touch()
    server = start().wait_until_it_answers()
    assert server.call("GET", INTERACTIONS)[0] == 200
    assert logged_in(server)


@pytest.mark.parametrize("copy", [False, True], ids=["removed", "replaced by a copy"])
def test_without_its_database_a_server_acknowledges_nothing_and_is_not_ready(tmp_path, start, copy):
    server = start().wait_until_it_answers()
    assert server.call("POST", INTERACTIONS, new(interaction_id="before"))[0] == 201
    assert server.request("GET", "/readyz")[0] == 200
    if copy:
        shutil.copy(tmp_path / "data.sqlite3", tmp_path / "copy")
    for path in tmp_path.glob("data.sqlite3*"):
        path.unlink()
    if copy:
        (tmp_path / "copy").rename(tmp_path / "data.sqlite3")
    assert server.call("POST", INTERACTIONS, new(interaction_id="lost"))[0] == 503
    # What it has found before is remembered for a second.
    wait_for(lambda: server.request("GET", "/readyz")[0] == 503, "the next look")
    assert b"was removed or replaced" in server.request("GET", "/readyz")[2]
    assert server.request("GET", "/healthz")[0] == 200
    assert server.output.count("CRITICAL") == 1
    assert "Traceback" not in server.output


def test_a_start_in_production_without_a_secret_key_says_what_to_do(tmp_path):
    finished = run(tmp_path, "serve", ENVIRONMENT="staging")
    assert finished.returncode != 0
    assert b"SECRET_KEY is not set" in finished.stderr


def test_what_development_has_printed_opens_nothing_elsewhere(start):
    """Somebody tries the image out, then serves the same volume for others."""
    first = start().wait_until_it_answers()
    assert logged_in(first)
    key, login = first.key, first.login
    first.stop()
    second = start(ENVIRONMENT="staging", SECRET_KEY="k" * 40).wait_until_it_answers()
    assert "are revoked" in second.output
    headers = {"Authorization": f"Api-Key {key}"}
    assert second.request("GET", INTERACTIONS, headers=headers)[0] == 401
    assert not get_in(second, *login)
    second.stop()
    third = start().wait_until_it_answers()
    assert third.key != key
    assert third.call("GET", INTERACTIONS)[0] == 200


def test_a_client_that_sends_slowly_does_not_keep_a_server_from_stopping(tmp_path, start):
    """It sends more than what counts as stalled, and would do so for minutes."""
    assert stalled.LAST_SECONDS <= KILL_SECONDS - 2
    server = start(DJANGO_SETTINGS_MODULE=HASTY).wait_until_it_answers()
    with server.connect() as connection:
        connection.sendall(head(server, "POST", INTERACTIONS, "Content-Length: 1000000"))
        ended = threading.Event()

        def send():
            with suppress(OSError):
                while not ended.wait(0.1):
                    connection.sendall(b" " * 200)

        sender = threading.Thread(target=send)
        sender.start()
        try:
            assert server.request("GET", "/healthz")[0] == 200
            server._process.terminate()
            assert server._process.wait(COMMAND_SECONDS) == 0
            # Otherwise the worker would have been killed, without a line.
            assert "The server stops, so 1 connections were closed." in server.output
        finally:
            ended.set()
            sender.join()


def head(server, method, path, *lines):
    """The beginning of a request, up to the empty line."""
    given = [f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{server.port}", *lines]
    if not any(line.startswith("Authorization") for line in lines):
        given.append(f"Authorization: Api-Key {server.key}")
    return "\r\n".join([*given, "Content-Type: application/json", "", ""]).encode()


def answer(connection):
    """The status and the head of the answer on a raw connection."""
    received = b""
    while b"\r\n\r\n" not in received:
        more = connection.recv(65536)
        if not more:
            break
        received += more
    status = re.match(rb"HTTP/1\.1 (\d{3})", received)
    return (int(status[1]) if status else None), received.decode()


@pytest.mark.parametrize(
    ("method", "path", "limit"),
    [
        ("POST", INTERACTIONS, BODY_LIMIT),
        ("PATCH", one("any"), BODY_LIMIT),
        ("POST", BATCH, BATCH_BODY_LIMIT),
    ],
)
def test_a_body_that_is_too_large_is_refused_before_it_is_sent(server, method, path, limit):
    with server.connect() as connection:
        connection.sendall(head(server, method, path, f"Content-Length: {limit + 1}"))
        status, text = answer(connection)
    assert status == 413
    assert PROBLEM in text


def test_a_client_that_waits_for_100_continue_is_told_413_instead(server):
    lines = ("Content-Length: 99999999", "Expect: 100-continue")
    with server.connect() as connection:
        connection.sendall(head(server, "POST", INTERACTIONS, *lines))
        assert answer(connection)[0] == 413


def test_a_client_that_waits_for_100_continue_can_save(server):
    body = json.dumps(new()).encode()
    with server.connect() as connection:
        connection.sendall(
            head(
                server,
                "POST",
                INTERACTIONS,
                f"Content-Length: {len(body)}",
                "Expect: 100-continue",
                "Connection: close",
            )
        )
        assert answer(connection)[0] == 100
        connection.sendall(body)
        assert answer(connection)[0] == 201


def test_a_body_in_chunks_is_asked_for_in_one_piece(server):
    body = json.dumps(new()).encode()
    with server.connect() as connection:
        connection.sendall(head(server, "POST", INTERACTIONS, "Transfer-Encoding: chunked"))
        connection.sendall(b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))
        status, text = answer(connection)
    assert status == 411
    assert PROBLEM in text


def test_chunks_without_an_end_are_answered(server):
    with server.connect() as connection:
        connection.sendall(head(server, "POST", BATCH, "Transfer-Encoding: chunked"))
        connection.sendall(b"5\r\nabcde\r\n")
        assert answer(connection)[0] == 411


@pytest.mark.parametrize(
    "lines",
    [
        ("Content-Length: abc",),
        ("Content-Length: -5",),
        ("Content-Length: 5", "Content-Length: 6"),
        ("Content-Length: 5", "Transfer-Encoding: chunked"),
        ("Content-Length: 99999999999999999999999",),
        (),
    ],
    ids=str,
)
def test_a_length_that_makes_no_sense_is_refused(server, lines):
    with server.connect() as connection:
        connection.sendall(head(server, "POST", INTERACTIONS, *lines, "Connection: close"))
        connection.sendall(b"0\r\n\r\n")
        assert 400 <= answer(connection)[0] < 500


def test_a_hundred_thousand_brackets_are_refused(server):
    body = b"[" * 100_000 + b"]" * 100_000
    status, problem = server.call("POST", INTERACTIONS, body)
    assert (status, problem["status"]) == (400, 400)


def answers(server):
    """Whether the server serves others meanwhile."""
    headers = {"Authorization": f"Api-Key {server.key}"}
    try:
        status, _, _ = server.request("GET", INTERACTIONS, headers=headers)
    except TimeoutError:
        return False
    return status == 200


@contextmanager
def stopped(server, beginning, count=100):
    """Clients that have sent the beginning of a request and now say nothing."""
    connections = [server.connect() for _ in range(count)]
    try:
        for connection in connections:
            connection.sendall(beginning)
        time.sleep(0.2)  # the server has begun to read them
        yield
    finally:
        for connection in connections:
            connection.close()


def test_a_hundred_half_heads_keep_nobody_waiting(server):
    with stopped(server, head(server, "GET", INTERACTIONS)[:-10]):
        assert all(answers(server) for _ in range(8))


def test_a_hundred_half_bodies_keep_nobody_waiting(server):
    beginning = head(server, "POST", INTERACTIONS, "Content-Length: 1000") + b'{"use'
    with stopped(server, beginning):
        # Several, because any of the workers may get the next request.
        assert all(answers(server) for _ in range(8))


def test_a_hundred_clients_that_leave_in_the_middle_of_a_body_do_no_harm(server):
    beginning = head(server, "POST", INTERACTIONS, "Content-Length: 1000") + b'{"use'
    with stopped(server, beginning):
        pass
    assert all(answers(server) for _ in range(8))
    assert server.is_running()
    assert "Traceback" not in server.output


@pytest.mark.parametrize("name", ["a/b", "100%", "%2F", "a#b?c=d", "née 😀", "a//b/", "+ ;"])
def test_odd_ids_come_through_the_server_as_they_are(server, name):
    interaction_id, user_id = f"{name}{uuid4()}", f"{uuid4()}{name}"
    body = new(interaction_id=interaction_id, user_id=user_id)
    status, stored = server.call("POST", INTERACTIONS, body)
    assert (status, stored["interaction_id"]) == (201, interaction_id)
    assert server.call("GET", one(interaction_id)) == (200, stored)
    server.call("POST", INTERACTIONS, new(user_id=user_id))
    assert len(every(server, f"{of_user(user_id)}?limit=1")) == 2


def test_what_one_worker_writes_every_worker_reads_at_once(server):
    """Each worker has a cache of its own, and each request goes to either of them."""
    path = one(server.call("POST", INTERACTIONS, new())[1]["interaction_id"])
    for number in range(30):
        changed = server.call("PATCH", path, {"input_tokens": number})[1]
        assert [server.call("GET", path)[1] for _ in range(3)] == [changed] * 3
    assert server.call("DELETE", path)[0] == 204
    assert {server.call("GET", path)[0] for _ in range(6)} == {404}


@pytest.mark.parametrize("path", ["/admin/login/", "/api/docs/"])
def test_pages_get_their_styles_and_scripts_from_the_server_itself(server, path):
    status, _, page = server.request("GET", path)
    assert status == 200
    found = set(re.findall(r'(?:src|href)="(/static/[^"]+)"', page.decode()))
    assert len([name for name in found if name.endswith((".css", ".js"))]) >= 2
    for name in found:
        status, headers, content = server.request("GET", name)
        assert (status, bool(content)) == (200, True), name
        assert not headers["Content-Type"].startswith("text/html")


@pytest.mark.parametrize("path", [INTERACTIONS, one("unknown"), "/static/chat/interactions.css"])
def test_head_is_answered_without_a_body_and_the_connection_goes_on(server, path):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=300)
    headers = {"Authorization": f"Api-Key {server.key}"}
    lengths = []
    for method in ("HEAD", "GET", "HEAD", "GET"):
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        lengths.append(response.headers["Content-Length"])
        assert len(response.read()) == (int(lengths[-1]) if method == "GET" else 0)
    assert len(set(lengths)) == 1
    connection.close()


def test_health_and_readiness(server):
    for path in ("/healthz", "/readyz"):
        status, _, body = server.request("GET", path)
        assert (status, json.loads(body)["status"]) == (200, "ok")
