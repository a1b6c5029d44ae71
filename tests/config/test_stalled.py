"""Which connections count as stalled; `test_slow_clients` does it to the real server."""

import socket
from contextlib import suppress
from types import SimpleNamespace

import pytest

from config import stalled

SECONDS = 10
ENOUGH = 500 * SECONDS
"""What a client has to send or take in that time."""


class Server:
    """Connections that this process has accepted, and a clock that the test holds."""

    def __init__(self):
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._opened = [self._listener]
        self.now = 0.0
        self.body_waited = 1000.0
        self._stalled = stalled.Stalled(
            SimpleNamespace(longest_wait=lambda: self.body_waited),
            self._listener.getsockname()[1],
        )

    def connection(self):
        """The client's side and ours."""
        client = socket.create_connection(self._listener.getsockname())
        ours, _ = self._listener.accept()
        self._opened += client, ours
        client.settimeout(60)
        return client, ours

    def end(self):
        return self._stalled.end(SECONDS)

    def close(self):
        for opened in self._opened:
            opened.close()


@pytest.fixture
def server(monkeypatch):
    made = Server()
    monkeypatch.setattr(stalled, "time", SimpleNamespace(monotonic=lambda: made.now))
    yield made
    made.close()


def send(client, ours, count):
    client.sendall(b"x" * count)
    assert len(ours.recv(count, socket.MSG_WAITALL)) == count


def fill(ours):
    """Send until no buffer on the way to the client takes more."""
    ours.setblocking(False)
    with suppress(BlockingIOError):
        while True:
            ours.send(b"x" * 100_000)


def test_a_client_that_has_stopped_sending(server):
    client, ours = server.connection()
    send(client, ours, 100)
    assert server.end() == 0
    server.now = SECONDS - 1
    assert server.end() == 0
    server.now = SECONDS
    assert server.end() == 1
    assert client.recv(1) == b""


@pytest.mark.parametrize(("count", "ended"), [(ENOUGH - 1, 1), (ENOUGH, 0)])
def test_a_client_that_sends_too_slowly(server, count, ended):
    client, ours = server.connection()
    assert server.end() == 0
    send(client, ours, count)
    server.now = SECONDS
    assert server.end() == ended


def test_a_request_that_is_being_worked_on_while_no_body_is_awaited(server):
    client, ours = server.connection()
    send(client, ours, 100)
    server.body_waited = SECONDS - 1
    for server.now in range(0, 10 * SECONDS, SECONDS):
        assert server.end() == 0
    ours.sendall(b"answer")
    assert client.recv(6) == b"answer"


def test_a_client_that_does_not_read(server):
    _client, ours = server.connection()
    fill(ours)
    server.body_waited = 0
    assert server.end() == 0
    server.now = SECONDS
    assert server.end() == 1


def test_a_client_that_reads_slowly_enough(server):
    client, ours = server.connection()
    fill(ours)
    for server.now in range(0, 4 * SECONDS, SECONDS):
        client.recv(2_000_000, socket.MSG_WAITALL)
        assert server.end() == 0


def test_other_connections_are_left_alone(server):
    """Such as those to Redis and DynamoDB."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        client = socket.create_connection(other.getsockname())
        ours, _ = other.accept()
        with client, ours:
            for server.now in range(0, 4 * SECONDS, SECONDS):
                assert server.end() == 0
            client.sendall(b"x")
            assert ours.recv(1) == b"x"
