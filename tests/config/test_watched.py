"""Every request has an id, a line in the log, and is counted; whichever way it takes."""

import gzip
import logging
import os
from uuid import UUID

import orjson
import pytest
from django.test import override_settings

from config import requests
from config.handler import Handler
from config.lines import JsonLines, Lines
from storage import get_storage
from storage.exceptions import StorageFull, StorageUnavailable
from storage.models import ApiKey
from tests.chat.calls import INTERACTIONS, new, of_user, one
from tests.config.watching import ask, log_of

ONE = "api/v1/interactions/<path:interaction_id>/"
JSON = {"CONTENT_TYPE": "application/json"}


@pytest.fixture(scope="module")
def handler():
    with override_settings(WHITENOISE_USE_FINDERS=True):
        return Handler()


@pytest.fixture
def log():
    with log_of() as found:
        yield found


@pytest.fixture
def made_key(transactional_db):
    return ApiKey.objects.create_key(name="test")


@pytest.fixture
def key(made_key):
    return {"HTTP_AUTHORIZATION": f"Api-Key {made_key[1]}"}


def test_the_line_of_a_call_with_a_key(handler, log, key, made_key):
    body = orjson.dumps(new())
    saved = ask(handler, "POST", INTERACTIONS, body, **JSON, **key)
    answer = ask(handler, "GET", one(orjson.loads(saved.content)["interaction_id"]), **key)
    of_save, of_read = log.requests
    assert of_save.pop("time").endswith("Z")
    assert of_save.pop("duration_ms") > 0
    assert of_save == {
        "level": "INFO",
        "logger": "chat.access",
        "message": "POST api/v1/interactions/ 201",
        "request_id": saved.headers["X-Request-ID"],
        "method": "POST",
        "route": "api/v1/interactions/",
        "status": 201,
        "bytes_in": len(body),
        "bytes_out": len(saved.content),
        "key": made_key[0].prefix,
    }
    assert (of_read["route"], of_read["bytes_out"]) == (ONE, len(answer.content))
    assert of_read["request_id"] == answer.headers["X-Request-ID"] != of_save["request_id"]


@pytest.mark.parametrize(
    ("method", "path", "environ", "route", "status"),
    [
        ("GET", one("x"), {}, ONE, 401),
        ("GET", "/admin/", {}, "admin/", 302),
        ("GET", "/static/chat/staff.css", {}, "static/", 200),
        ("GET", "/nothing", {}, "(none)", 404),
        ("GET", "/", {"HTTP_HOST": "evil.example"}, "(none)", 400),
        ("POST", "/", {"CONTENT_LENGTH": "5"}, "(none)", 413),
        ("BREW", "/", {}, "(none)", 403),
        ("POST", "/api/otlp/v1/traces", {"CONTENT_LENGTH": "5"}, "api/otlp/v1/traces/", 401),
    ],
)
@pytest.mark.django_db(transaction=True)
def test_the_line_of_any_other_request(handler, log, method, path, environ, route, status):
    answer = ask(handler, method, path, **environ)
    (line,) = log.requests
    shown = "OTHER" if method == "BREW" else method
    assert (line["method"], line["route"], line["status"]) == (shown, route, status)
    assert line["key"] is None
    assert UUID(answer.headers["X-Request-ID"]) == UUID(line["request_id"])


def test_a_server_that_is_busy_has_the_line_too(handler, log, monkeypatch):
    monkeypatch.setattr(handler.admission, "rooms", lambda environ: [Full()])
    answer = ask(handler, "GET", INTERACTIONS)
    assert [line["status"] for line in log.requests] == [503]
    assert orjson.loads(answer.content)["request_id"] == answer.headers["X-Request-ID"]


class Full:
    def enter(self):
        return False


def test_a_stream_has_its_line_when_it_has_been_read(handler, log, key, transactional_db):
    ApiKey.objects.update(may_erase=True)
    answer = ask(handler, "GET", "/api/v1/users/ada/export/", **key)
    (line,) = log.requests
    assert (line["status"], line["bytes_out"]) == (200, len(answer.content))


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_probes_are_logged_only_if_they_fail(handler, log, monkeypatch, path, transactional_db):
    assert ask(handler, "GET", path).status == 200
    assert log.requests == []
    assert ask(handler, "POST", path, CONTENT_LENGTH="5").status == 413
    assert len(log.requests) == 1


def test_without_lines_requests_are_counted(handler, key):
    def count():
        sums = requests.REQUESTS.sums().get(("GET", ONE, "404"), [0, 0])
        return sum(sums[:-1])

    with log_of(level=logging.WARNING) as log:
        before = count()
        ask(handler, "GET", one("unknown"), **key)
        assert log.requests == []
        assert count() == before + 1


def test_as_text_it_is_a_line_as_well(handler, key, made_key):
    with log_of(Lines()) as log:
        answer = ask(handler, "GET", one("unknown"), **key)
        (line,) = log.text.splitlines()
    request_id = answer.headers["X-Request-ID"]
    assert f"INFO chat.access GET {ONE} 404 " in line
    assert line.endswith(f"key {made_key[0].prefix} [{request_id}]")


def test_every_line_of_a_request_has_its_id(handler, log, key, monkeypatch):
    def fail(*args):
        raise StorageUnavailable("away")

    monkeypatch.setattr(type(get_storage().database), "read_stored", fail)
    answer = ask(handler, "GET", one("x"), **key)
    problem = orjson.loads(answer.content)
    assert answer.status == 503
    assert problem["request_id"] == answer.headers["X-Request-ID"]
    assert [line["logger"] for line in log.lines] == ["chat.api.problems", "chat.access"]
    assert {line["request_id"] for line in log.lines} == {problem["request_id"]}


# Ids that come with a request

SAFE = "8d7f1c.A-b_9"


@pytest.mark.parametrize(
    ("proxies", "headers", "is_taken"),
    [
        (1, {"HTTP_X_REQUEST_ID": SAFE, "HTTP_X_FORWARDED_FOR": "203.0.113.7"}, True),
        (2, {"HTTP_X_REQUEST_ID": SAFE, "HTTP_X_FORWARDED_FOR": "203.0.113.7, 10.0.0.1"}, True),
        (0, {"HTTP_X_REQUEST_ID": SAFE, "HTTP_X_FORWARDED_FOR": "203.0.113.7"}, False),
        (1, {"HTTP_X_REQUEST_ID": SAFE}, False),
        (2, {"HTTP_X_REQUEST_ID": SAFE, "HTTP_X_FORWARDED_FOR": "203.0.113.7"}, False),
        (1, {"HTTP_X_REQUEST_ID": "a b", "HTTP_X_FORWARDED_FOR": "203.0.113.7"}, False),
        (1, {"HTTP_X_REQUEST_ID": 'a","b', "HTTP_X_FORWARDED_FOR": "203.0.113.7"}, False),
        (1, {"HTTP_X_REQUEST_ID": "x" * 65, "HTTP_X_FORWARDED_FOR": "203.0.113.7"}, False),
        (1, {"HTTP_X_REQUEST_ID": "a\n", "HTTP_X_FORWARDED_FOR": "203.0.113.7"}, False),
        (1, {"HTTP_X_REQUEST_ID": "", "HTTP_X_FORWARDED_FOR": "203.0.113.7"}, False),
    ],
)
def test_an_id_is_taken_from_trusted_proxies_if_it_is_harmless(
    handler, settings, proxies, headers, is_taken
):
    settings.NUM_PROXIES = proxies
    found = ask(handler, "GET", "/healthz", **headers).headers["X-Request-ID"]
    assert (found == headers["HTTP_X_REQUEST_ID"]) == is_taken
    if not is_taken:
        assert UUID(found)


# Nothing of what clients send

SECRET = "marker-7f3a"


def every_request(handler, key):
    """Requests with the marker in all that a client can choose, and each kind of error."""
    marked = {
        "HTTP_COOKIE": f"sessionid={SECRET}; csrftoken={SECRET}",
        "HTTP_USER_AGENT": SECRET,
        "HTTP_REFERER": f"https://{SECRET}.example/",
        "HTTP_X_FORWARDED_FOR": SECRET,
        "HTTP_X_REQUEST_ID": SECRET,
        "HTTP_TRACEPARENT": SECRET,
        "HTTP_TRACESTATE": f"a={SECRET}",
        "HTTP_BAGGAGE": f"a={SECRET}",
        "HTTP_ACCEPT": SECRET,
        "QUERY_STRING": f"cursor={SECRET}&{SECRET}={SECRET}",
    }
    whole = dict.fromkeys(("interaction_id", "user_id", "message", "response"), SECRET)
    good = orjson.dumps(new(**whole, model_used=SECRET))
    other = orjson.dumps(new(**(whole | {"message": f"{SECRET}!"}), model_used=SECRET))
    plain = {**JSON, **key, "HTTP_USER_AGENT": SECRET, "HTTP_COOKIE": SECRET}
    wrong = {"HTTP_AUTHORIZATION": f"Api-Key {SECRET}.{SECRET}"}
    for method, path, body, environ in (
        ("POST", INTERACTIONS, good, plain),
        ("POST", INTERACTIONS, other, plain),
        ("POST", INTERACTIONS, good, plain | {"HTTP_IDEMPOTENCY_KEY": SECRET}),
        ("POST", INTERACTIONS, other, plain | {"HTTP_IDEMPOTENCY_KEY": SECRET}),
        ("POST", INTERACTIONS, SECRET.encode(), plain),
        ("POST", INTERACTIONS, b"", plain | {"CONTENT_LENGTH": "30000000"}),
        ("POST", INTERACTIONS, good, {**plain, "CONTENT_TYPE": SECRET}),
        ("POST", INTERACTIONS, good, {**plain, "HTTP_TRANSFER_ENCODING": "chunked"}),
        ("GET", one(SECRET), b"", plain),
        ("GET", one(SECRET), b"", marked | key),
        ("GET", one(SECRET), b"", marked | wrong),
        ("GET", one(SECRET), b"", marked),
        ("GET", of_user(SECRET), b"", key),
        ("GET", of_user(SECRET), b"", marked | key),
        ("PUT", one(SECRET), good, marked | key),
        (SECRET.upper(), one(SECRET), b"", key),
        ("DELETE", one(SECRET), b"", key),
        ("DELETE", f"/api/v1/users/{SECRET}/", b"", key),
        ("GET", f"/api/v1/users/{SECRET}/export/", b"", key),
        ("GET", f"/{SECRET}/", b"", marked),
        ("GET", f"/static/{SECRET}.css", b"", marked),
        ("GET", f"/admin/{SECRET}/", b"", marked),
        ("POST", "/admin/login/", f"username={SECRET}&password={SECRET}".encode(), FORM),
        ("POST", f"/{SECRET}/v1/traces", SECRET.encode(), marked),
        ("POST", "/api/otlp/v1/traces", SECRET.encode(), JSON | key),
        ("POST", "/api/otlp/v1/traces", gzip.compress(SPAN), OTLP | key),
        ("POST", "/api/v1/ingest/litellm/", orjson.dumps([whole]), JSON | key),
        ("GET", "/readyz", b"", marked),
        ("GET", "/metrics", b"", marked),
        ("GET", "/api/v1/status/", b"", marked | key),
        ("GET", "/", b"", marked | {"HTTP_HOST": f"{SECRET}.example"}),
    ):
        yield ask(handler, method, path, body, **environ).status


FORM = {"CONTENT_TYPE": "application/x-www-form-urlencoded"}
OTLP = {"CONTENT_TYPE": "application/json", "HTTP_CONTENT_ENCODING": "gzip"}
SPAN = orjson.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [{"name": SECRET}]}]}]})


def failing(error):
    def fail(*args, **kwargs):
        raise error

    return fail


@pytest.mark.parametrize(
    "error",
    [
        None,
        StorageUnavailable("away"),
        StorageFull("full"),
        ValueError(f"invalid literal: {SECRET}"),
        OSError(28, "No space left on device", f"/data/{SECRET}"),
    ],
    ids=repr,
)
def test_nothing_that_clients_send_is_in_the_log_or_the_metrics(handler, key, monkeypatch, error):
    if error is not None:
        for name in ("read_stored", "create", "update", "delete", "newest_json", "look"):
            monkeypatch.setattr(type(get_storage().database), name, failing(error))
    with log_of() as log:
        statuses = list(every_request(handler, key))
        assert len(log.requests) >= len(statuses) - 1  # a probe that succeeds has no line
        text = log.text.lower()
    assert {400, 401, 403, 404, 405, 411, 413, 415} <= set(statuses)
    assert error is None or {500, 503, 507} & set(statuses)
    metrics = ask(handler, "GET", "/metrics", **key).content.decode().lower()
    assert "chat_http_request_duration_seconds_count" in metrics
    assert [line for line in (text + metrics).splitlines() if SECRET in line] == []


def test_a_name_that_is_not_utf8_costs_no_line():
    name = os.fsdecode(b"/data/\xff")
    about = ("chat", logging.WARNING, __file__, 1, "Every user could use %s.", (name,), None)
    line = orjson.loads(JsonLines().format(logging.LogRecord(*about)))
    assert line["message"] == "Every user could use /data/\\udcff."


def test_a_bug_before_any_view_is_a_problem_and_a_traceback_without_its_message(
    handler, key, monkeypatch
):
    monkeypatch.setattr(handler, "_admitted", failing(ValueError(SECRET)))
    with log_of() as log:
        answer = ask(handler, "GET", one(SECRET), **key)
        error, line = log.lines
    assert (answer.status, line["status"]) == (500, 500)
    assert orjson.loads(answer.content)["request_id"] == error["request_id"]
    assert "in _answer" in error["exception"]
    assert "ValueError (its message is left out" in error["exception"]
    assert SECRET not in str(error)


def test_a_message_of_python_would_show_it():
    """The control: the traceback that Python makes has the marker."""
    try:
        raise ValueError(SECRET)
    except ValueError as error:
        record = logging.LogRecord(
            "x", 40, "x", 1, "x", (), (ValueError, error, error.__traceback__)
        )
    assert SECRET in logging.Formatter().format(record)
    assert SECRET not in Lines().format(record)
