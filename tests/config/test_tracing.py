"""Traces: what a collector gets, and that nothing is there unless somebody asks for it."""

import builtins
import subprocess
import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import orjson
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from config import tracing
from config.handler import Handler
from storage import get_storage
from storage.models import ApiKey
from tests.chat.calls import INTERACTIONS, new, one
from tests.chat.processes import Server, environment
from tests.config.watching import ask, log_of
from tests.servers import wait_for

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
SECRET = "marker-51c0"


class Collector:
    """Takes spans over HTTP, as an OpenTelemetry collector does."""

    def __init__(self):
        self.bodies = bodies = []

        class Takes(BaseHTTPRequestHandler):
            def do_POST(self):
                assert self.path == "/v1/traces"
                bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *args):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Takes)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    @property
    def spans(self):
        requests = [ExportTraceServiceRequest.FromString(body) for body in list(self.bodies)]
        return [
            span
            for request in requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def stop(self):
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def collector():
    found = Collector()
    yield found
    found.stop()


@pytest.fixture(scope="module")
def handler():
    return Handler()


@contextmanager
def traced(settings, collector):
    """All spans of the block have been sent after it."""
    settings.TRACES_ENDPOINT = collector.url
    tracing.start()
    try:
        yield
    finally:
        tracing.stop()


@pytest.fixture
def key(transactional_db):
    return {"HTTP_AUTHORIZATION": f"Api-Key {ApiKey.objects.create_key(name='test')[1]}"}


def attributes(span):
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in span.attributes}


def test_a_request_and_its_calls_to_the_database_are_one_trace(handler, settings, collector, key):
    body = orjson.dumps(new(user_id=SECRET, message=SECRET))
    with traced(settings, collector):
        answer = ask(handler, "POST", INTERACTIONS, body, CONTENT_TYPE="application/json", **key)
        ask(handler, "GET", "/healthz")
    call, request = collector.spans
    assert (request.name, call.name) == ("POST api/v1/interactions/", "create sqlite")
    assert (call.trace_id, call.parent_span_id) == (request.trace_id, request.span_id)
    assert request.parent_span_id == b""
    assert attributes(request) == {
        "http.request.method": "POST",
        "http.response.status_code": 201,
        "http.route": "api/v1/interactions/",
        "chat.request_id": answer.headers["X-Request-ID"],
    }
    assert attributes(call) == {"db.system.name": "sqlite", "db.operation.name": "create"}
    assert SECRET.encode() not in b"".join(collector.bodies)


def test_an_error_is_marked_without_its_message(handler, settings, collector, key, monkeypatch):
    def fail(*args):
        raise ValueError(SECRET)

    monkeypatch.setattr(type(get_storage()), "get_json_sync", fail)
    marked = {"QUERY_STRING": SECRET, "HTTP_TRACESTATE": f"a={SECRET}", "HTTP_TRACEPARENT": PARENT}
    with traced(settings, collector):
        ask(handler, "GET", one(SECRET), **key)
        assert ask(handler, "GET", one(SECRET), **key, **marked).status == 400
    failed, refused = collector.spans
    assert (failed.status.code, refused.status.code) == (2, 0)
    assert (list(failed.events), failed.status.message) == ([], "")
    assert SECRET.encode() not in b"".join(collector.bodies)


@pytest.mark.parametrize("proxies", [0, 1])
def test_a_trace_is_continued_if_a_trusted_proxy_says_so(
    handler, settings, collector, key, proxies
):
    settings.NUM_PROXIES = proxies
    sent = {"HTTP_TRACEPARENT": PARENT, "HTTP_X_FORWARDED_FOR": "203.0.113.7"}
    with traced(settings, collector):
        ask(handler, "GET", one("unknown"), HTTP_TRACESTATE=f"a={SECRET}", **sent, **key)
    request = collector.spans[-1]
    assert (request.trace_id.hex() == PARENT[3:35]) == bool(proxies)
    assert request.trace_state == ""


def test_without_the_packages_one_line_says_what_to_install(settings, monkeypatch):
    settings.TRACES_ENDPOINT = "http://127.0.0.1:1"
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("opentelemetry.exporter"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with log_of() as log:
        tracing.start()
        (line,) = log.lines
    assert tracing.active is None
    assert "Install requirements/tracing.txt" in line["message"]


def test_a_setting_that_the_sdk_refuses_keeps_no_server_from_starting(settings, monkeypatch):
    settings.TRACES_ENDPOINT = "http://127.0.0.1:1"
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "100")  # its batches are of 512
    with log_of() as log:
        tracing.start()
        (line,) = log.lines
    assert tracing.active is None
    assert "max_queue_size" in line["message"]


def test_off_it_is_not_even_imported(tmp_path):
    program = (
        "import sys, config.server\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry.sdk')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"


def test_both_workers_of_a_server_send_spans(tmp_path, collector):
    server = Server(tmp_path, WORKERS="2", OTEL_EXPORTER_OTLP_ENDPOINT=collector.url)
    try:
        server.wait_until_it_answers()
        for _ in range(40):  # each on a new connection, which either worker takes
            server.call("GET", one("unknown"))
    finally:
        server.stop()
    wait_for(lambda: len([s for s in collector.spans if s.kind == 2]) == 40, "all spans")
