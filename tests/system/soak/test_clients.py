"""What a client of a soak notes of an answer."""

import http.server
import json
import threading

import pytest

from tests.system.soak.clients import Client
from tests.system.soak.known import Known

PROBLEM = {"title": "Temporarily unavailable", "detail": "DynamoDB is slow.", "request_id": "id-7"}


class Busy(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps(PROBLEM).encode()
        self.send_response(503)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class World:
    key = "key"

    def __init__(self, port, kills):
        self.ports, self.kills = [port], kills

    def lines_of(self, request_id):
        return f"the log's line of {request_id}"


@pytest.fixture
def port():
    with http.server.HTTPServer(("127.0.0.1", 0), Busy) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        yield server.server_port


@pytest.mark.parametrize("kills", [False, True])
def test_a_503_without_a_cause_is_told_with_the_log(port, kills):
    known = Known()
    client = Client(known, World(port, kills), 1, threading.Event())
    client._answer("GET", "/api/v1/somewhere/")
    told = [fault.what for fault in known.faults]
    assert known.counts == {"answers 503": 1}
    assert len(told) == (0 if kills else 1)
    for what in told:
        assert "/api/v1/somewhere/" in what
        assert PROBLEM["detail"] in what
        assert "the log's line of id-7" in what
