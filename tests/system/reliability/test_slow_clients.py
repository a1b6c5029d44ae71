"""Clients that stop sending or reading keep nobody waiting, and are sent away."""

import re
import socket
import time
from contextlib import ExitStack, contextmanager

import pytest

from config.admission import FORMS_OF_ONE
from tests.chat.calls import BATCH, INTERACTIONS, new
from tests.chat.processes import COMMAND_SECONDS, run
from tests.system.reliability.servers import Server

CLIENTS = 150
"""More than there are places for their kind."""

CSRF = f"Cookie: csrftoken={'a' * 32}"
FORM = "application/x-www-form-urlencoded"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Is patient for one second."""
    started = Server(tmp_path_factory.mktemp("server"), CLIENT_TIMEOUT="1")
    try:
        yield started.wait_until_it_answers()
    finally:
        started.stop()


def head(server, method, path, *lines):
    return "\r\n".join([f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{server.port}", *lines])


def half_form(server, path):
    """The beginning of a form, as anybody can send it, with a cookie that makes Django read it."""
    lines = (CSRF, f"Content-Type: {FORM}", "Content-Length: 1000")
    return f"{head(server, 'POST', path, *lines)}\r\n\r\ncsrfmiddlewaretoken="


def half_call(server):
    lines = (
        f"Authorization: Api-Key {server.key}",
        "Content-Type: application/json",
        "Content-Length: 100000",
    )
    return f"{head(server, 'POST', INTERACTIONS, *lines)}\r\n\r\n{{"


BEGINNINGS = {
    "form": lambda server: half_form(server, "/admin/login/"),
    "form to a page that takes none": lambda server: half_form(server, "/"),
    "form to healthz": lambda server: half_form(server, "/healthz"),
    "form to readyz": lambda server: half_form(server, "/readyz"),
    "call": half_call,
    "headers": lambda server: head(server, "GET", "/healthz"),
    "nothing": lambda server: "",
}


@contextmanager
def clients(server, beginning, count=CLIENTS):
    with ExitStack() as opened:
        connections = [opened.enter_context(server.connect()) for _ in range(count)]
        for connection in connections:
            connection.sendall(beginning.encode())
        yield connections


def ends(connection):
    """Waits until the server has closed a connection; gives what it has sent before."""
    received = b""
    with ExitStack() as ended:
        ended.callback(connection.close)
        try:
            while more := connection.recv(65536):
                received += more
        except ConnectionResetError:
            pass
    return received


def look_after(server):
    """What everybody else sees."""
    key = {"Authorization": f"Api-Key {server.key}"}
    assert server.request("GET", "/healthz")[0] == 200
    assert server.request("GET", "/readyz")[0] == 200
    assert server.request("GET", "/admin/login/")[0] == 200
    assert server.request("GET", f"{INTERACTIONS}?limit=1", headers=key)[0] == 200


@pytest.mark.parametrize("kind", BEGINNINGS)
def test_clients_that_stop_sending_keep_nobody_waiting_and_are_sent_away(server, kind):
    with clients(server, BEGINNINGS[kind](server)) as connections:
        look_after(server)
        for connection in connections:
            ends(connection)
    assert server.call("POST", INTERACTIONS, new())[0] == 201


def test_a_client_that_finds_no_place_is_told_so_unread(server):
    with clients(server, half_call(server)) as connections:
        answers = [ends(connection) for connection in connections]
    refused = [answer for answer in answers if answer.startswith(b"HTTP/1.1 503")]
    assert len(refused) >= CLIENTS - 128
    assert all(b"retry-after: 2\r\n" in answer.lower() for answer in refused)


def test_a_client_that_sends_a_byte_now_and_then_is_sent_away(server):
    with clients(server, half_call(server), count=1) as (connection,):
        connection.settimeout(0.1)
        for _ in range(10 * COMMAND_SECONDS):
            try:
                connection.sendall(b" ")
                if not connection.recv(1):
                    return
            except TimeoutError:
                continue
            except OSError:
                return
    raise AssertionError("It was never sent away.")


@pytest.fixture(scope="module")
def eraser(server):
    """A key that may export, and a user of whom there is much."""
    rows = [new(user_id="much", message="x" * 300_000) for _ in range(50)]
    for row in rows:
        assert server.call("POST", BATCH, {"interactions": [row]})[0] == 200
    made = run(server.folder, "create_api_key", "test", "--may-erase")
    return made.stdout.decode().split()[-1]


def export(server, eraser):
    path = "/api/v1/users/much/export/"
    return head(server, "GET", path, f"Authorization: Api-Key {eraser}") + "\r\n\r\n"


def test_clients_that_do_not_read_their_export_keep_nobody_waiting_and_are_sent_away(
    server, eraser
):
    before = closed(server)
    with clients(server, export(server, eraser), count=30) as connections:
        look_after(server)
        statuses = [connection.recv(12, socket.MSG_WAITALL) for connection in connections]
        assert set(statuses) == {b"HTTP/1.1 200", b"HTTP/1.1 503"}
        # The server has sent what fits into the buffers on the way; then it waits for readers.
        wait_until_closed(server, before + statuses.count(b"HTTP/1.1 200"))
        for connection in connections:
            assert b'"complete":true' not in ends(connection)
    with clients(server, export(server, eraser), count=1) as (connection,):
        received = b""
        while b'"complete":true' not in received[-1000:]:
            received += connection.recv(1 << 20)


def closed(server):
    """How many connections the server has closed as stalled, as it logs."""
    return sum(map(int, re.findall(r"(\d+) stalled connections were closed", server.output)))


def wait_until_closed(server, count):
    for _ in range(10 * COMMAND_SECONDS):
        if closed(server) >= count:
            return
        time.sleep(0.1)
    raise AssertionError(server.output)


def test_stalled_clients_do_not_make_a_stop_a_kill(start):
    server = start(CLIENT_TIMEOUT="60", DJANGO_SETTINGS_MODULE="tests.chat.hasty_settings")
    with (
        clients(server, half_call(server), count=20),
        clients(server, half_form(server, "/admin/login/"), count=FORMS_OF_ONE),
    ):
        look_after(server)
        assert server.interrupt() == 0
    # Otherwise the worker would have been killed, without a line.
    assert closed(server) == 20 + FORMS_OF_ONE
