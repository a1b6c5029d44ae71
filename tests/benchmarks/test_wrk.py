"""wrk sends what it is told to, and ends when all of it is answered."""

import json
import shutil
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

pytestmark = pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")

CONNECTIONS = 4
SLOW = 0
SECONDS = 0.3
"""Longer than wrk waits for answers by itself once it ends."""


class Server(ThreadingHTTPServer):
    request_queue_size = 64


@contextmanager
def answering(status=201, closes=False):
    """A server, and the bodies that it has got."""
    got = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            if got[-1]["line"] == SLOW:
                time.sleep(SECONDS)
            self.close_connection = closes
            end = b"Connection: close\r\n\r\n" if closes else b"\r\n"
            self.wfile.write(b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n" % status + end)

        def log_message(self, *args):
            pass

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_port, got
        finally:
            server.shutdown()
            thread.join()


def send(port, folder, **until):
    from harness import wrk

    lines = folder / "lines"
    lines.write_text("".join(f'{{"line": {number}}}\n' for number in range(10)))
    load = wrk.Load("POST", "/save", "", lines)
    return wrk.send(load, port, "Api-Key x", connections=CONNECTIONS, **until)


@pytest.mark.parametrize("closes", [False, True])
@pytest.mark.parametrize("until", [{"requests": 25}, {"seconds": 0.2}], ids=["count", "time"])
def test_a_server_has_done_exactly_what_was_acknowledged(closes, until, tmp_path):
    with answering(closes=closes) as (port, got):
        found = send(port, tmp_path, first=7, **until)
    assert found.requests == len(got) > 0
    lines = [(7 + number) % 10 for number in range(found.requests)]
    assert sorted(body["line"] for body in got) == sorted(lines)
    assert 0 < found.p50 <= found.p99


def test_a_refusal_is_an_error(tmp_path):
    from harness import wrk

    with answering(status=503) as (port, _), pytest.raises(wrk.LoadError, match="refused"):
        send(port, tmp_path, requests=8)


@pytest.mark.exhaustive
def test_the_api_is_measured_from_end_to_end(tmp_path, monkeypatch, capsys):
    import api

    monkeypatch.setenv("BENCH_CACHE", str(tmp_path))
    file = tmp_path / "ratios.json"
    monkeypatch.setattr(api.signal, "signal", lambda *_: None)
    monkeypatch.setattr(api.signal, "alarm", lambda _: None)
    words = ["--only", "chat_store", "--rows", "10000", "--rounds", "1", "--seconds", "0.1"]
    api.main([*words, "--json", str(file)])
    assert "| this project |" in capsys.readouterr().out
    assert json.loads(file.read_text()) == {}  # beside itself alone
