"""What is not exactly what DynamoDB sent is asked for again, and never taken."""

import socketserver
import threading
import zlib

import pytest
from botocore.retries.quota import RetryQuota

from storage.dynamodb import mirror, transport
from storage.exceptions import StorageUnavailable
from tests.storage.dynamodb.answering import answer, client_at, read

pytestmark = pytest.mark.usefixtures("account")


class Wire:
    """Sends the bytes that a test wants, each time to another request. Hangs up if they are few."""

    def __init__(self, *answers):
        self.received, left = 0, list(answers)
        wire = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self):
                while lines := self._head():
                    head = dict(line.lower().split(b":", 1) for line in lines[1:])
                    self.rfile.read(int(head[b"content-length"]))
                    wire.received += 1
                    text = left.pop(0)
                    self.wfile.write(text)
                    if text != whole():
                        return

            def _head(self):
                """The lines before the body; none if the client has hung up."""
                lines = []
                while (line := self.rfile.readline()) not in (b"\r\n", b""):
                    lines.append(line)
                return lines

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self):
        self._server.shutdown()
        self._server.server_close()


def whole():
    """The bytes of an answer."""
    body = b'{"Item": {"interaction_id": {"S": "i"}}}'
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nx-amz-crc32: {zlib.crc32(body)}"
    return head.encode() + b"\r\n\r\n" + body


@pytest.fixture
def wire(monkeypatch):
    """Makes one. Nobody waits between two attempts."""
    monkeypatch.setattr(transport.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(RetryQuota, "acquire", lambda *arguments: True)
    started = []

    def start(*answers):
        started.append(Wire(*answers))
        return started[-1]

    yield start
    for server in started:
        server.stop()


def test_an_answer_that_is_cut_anywhere_is_never_taken(wire):
    cuts = range(len(whole()))
    server = wire(*[part for cut in cuts for part in [whole()[:cut], whole()]])
    client = client_at(server)
    for cut in cuts:
        found = read(client)
        assert found["Item"] == {"interaction_id": {"S": "i"}}, cut
        assert found["ResponseMetadata"]["RetryAttempts"] == 1, (cut, server.received)
    assert server.received == 2 * len(cuts)


def test_a_request_on_a_kept_connection_that_ends_is_sent_again_as_another_attempt(wire):
    server = wire(whole(), b"", whole())
    client = client_at(server)
    read(client)
    assert read(client)["ResponseMetadata"]["RetryAttempts"] == 1
    assert server.received == 3


@pytest.mark.parametrize("body", [b"x}", b"[1}", b'{"Item": {}', b'["{}"]'])
def test_what_is_no_json_is_never_taken_for_an_empty_answer(serve, monkeypatch, body):
    monkeypatch.setattr(transport.time, "sleep", lambda seconds: None)
    server = serve()
    server.answers = [(200, body, {})]
    assert read(client_at(server))["Item"]
    assert len(server.requests) == 2


def test_an_answer_with_a_wrong_checksum_is_never_taken(serve, monkeypatch):
    monkeypatch.setattr(transport.time, "sleep", lambda seconds: None)
    server = serve()
    wrong = answer(**{"x-amz-crc32": "1"})
    server.answers = [wrong]
    client = client_at(server)
    assert read(client)["Item"]
    server.answers = [wrong] * 10
    with pytest.raises(StorageUnavailable, match="DamagedAnswer"):
        read(client)
    assert len(server.requests) == 2 + 1 + mirror.RETRIES
