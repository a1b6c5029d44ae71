"""Headers of every kind of response: what browsers and caches may do with it."""

import re

import pytest
from django.test import Client

from config.wsgi import application
from storage.models import ApiKey
from tests.chat.calls import INTERACTIONS, new, one
from tests.chat.limits import clock, limits

__all__ = ["clock", "limits"]

NOTHING = "default-src 'none'; frame-ancestors 'none'"
ADMIN = [
    "/admin/",
    "/admin/login/",
    "/admin/storage/chatinteraction/",
    "/admin/storage/apikey/add/",
    "/admin/storage/intakecount/",
    "/admin/auth/user/",
]


@pytest.fixture
def key(transactional_db):
    _, key = ApiKey.objects.create_key(name="test", may_erase=True)
    return {"Authorization": f"Api-Key {key}"}


def directives(response):
    parts = response["Content-Security-Policy"].split("; ")
    return {name: sources for name, _, sources in (part.partition(" ") for part in parts)}


@pytest.mark.parametrize(
    "path",
    [
        INTERACTIONS,
        one("missing"),
        "/api/v1/users/ada/interactions/",
        "/api/v1/users/ada/export/",
        "/api/v1/nothing/",
    ],
)
@pytest.mark.parametrize("way", ["key", "wrong key", "staff", "nobody"])
def test_what_users_said_is_kept_by_nobody_and_runs_nothing(storage, key, root, path, way):
    client = root if way == "staff" else Client()
    headers = {"key": key, "wrong key": {"Authorization": "Api-Key x.y"}}.get(way, {})
    response = client.get(path, headers=headers)
    assert response["Cache-Control"] == "no-store"
    assert response["Content-Security-Policy"] == NOTHING
    assert response["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("host", ["evil.example", "testserver"])
@pytest.mark.parametrize("path", ["/", "/healthz", "/metrics", "/api/schema/", "/nothing"])
def test_what_is_no_page_runs_nothing(transactional_db, path, host):
    response = Client(headers={"host": host}).get(path)
    assert response["Content-Security-Policy"] == NOTHING
    assert response["Cache-Control"] == "no-store"


@pytest.mark.parametrize("path", ADMIN)
def test_pages_of_the_admin_are_kept_by_nobody_and_have_no_inline_script(storage, root, path):
    response = root.get(path)
    assert "no-store" in response["Cache-Control"]
    assert directives(response)["script-src"] == "'self' 'unsafe-eval'"
    assert directives(response)["frame-ancestors"] == "'none'"
    assert inline_scripts(response) == []


def test_docs_have_no_inline_script_and_evaluate_nothing(transactional_db):
    response = Client().get("/api/docs/")
    assert directives(response)["script-src"] == "'self'"
    assert inline_scripts(response) == []
    (script,) = re.findall(r'src="(/api/docs/[^"]*)"', response.content.decode())
    assert "SwaggerUIBundle" in Client().get(script).content.decode()


def inline_scripts(response):
    page = response.content.decode()
    handlers = re.findall(r"<[^>]*\son(?:click|load|error|change|submit)=[^>]*>", page)
    return [tag for tag in re.findall(r"<script[^>]*>", page) if "src=" not in tag] + handlers


def test_what_is_refused_before_django_has_them_too():
    sent = []
    environ = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/healthz",
        "CONTENT_LENGTH": "5",
        "SERVER_PROTOCOL": "HTTP/1.1",
    }
    application(environ, lambda status, headers: sent.extend([status, dict(headers)]))
    status, headers = sent
    assert int(status[:3]) >= 400
    assert headers["Content-Security-Policy"] == NOTHING
    assert headers["Cache-Control"] == "no-store"


def calls(key):
    client = Client(headers={"host": "evil.example"})
    return {
        "read with a key": lambda: client.get(one("x"), headers=key),
        "save with a key": lambda: client.post(
            INTERACTIONS, new(), "application/json", headers=key
        ),
        "metrics with a key": lambda: client.get("/metrics", headers=key),
        "read": lambda: client.get(one("x")),
        "page": lambda: client.get("/admin/login/"),
        "form": lambda: client.post("/admin/login/", {"username": "x", "password": "y"}),
        "home": lambda: client.get("/"),
        "unknown page": lambda: client.get("/nothing"),
    }


@pytest.mark.parametrize("kind", calls(None))
def test_wrong_host_is_refused_everywhere_and_is_one_line_in_the_log(storage, key, caplog, kind):
    response = calls(key)[kind]()
    assert response.status_code == 400
    assert storage.get_user_interactions_sync("ada", 100) == []
    (record,) = [record for record in caplog.records if record.name.startswith("django")]
    line = caplog.handler.formatter.format(record)
    assert "its header Host is none of ALLOWED_HOSTS" in line
    assert "evil.example" not in line
    assert "\n" not in line
    assert record.levelname == "WARNING"


@pytest.mark.parametrize("host", ["a\nforged", "x" * 5000, "%s%n", "\x1b[31m", "a b", ""])
def test_whatever_host_a_client_invents_is_one_short_line(storage, key, caplog, host):
    assert Client(headers={"host": host}).get(one("x"), headers=key).status_code in (400, 404)
    for record in caplog.records:
        line = caplog.handler.formatter.format(record)
        assert line.isprintable()
        assert len(line) < 400


def test_too_many_parameters_are_one_line_too(storage, caplog):
    query = "&".join(f"p{number}=0" for number in range(1500))
    assert Client().get(f"/admin/login/?{query}").status_code == 400
    for record in caplog.records:
        assert record.exc_info is None
        assert "\n" not in caplog.handler.formatter.format(record)


def test_the_log_of_a_form_without_its_token_has_no_ids(storage, caplog):
    client = Client(enforce_csrf_checks=True)
    client.post("/admin/storage/chatinteraction/somebody/change/", {"a": "b"})
    assert caplog.records
    assert "somebody" not in caplog.text


def test_calls_with_a_wrong_host_count_for_their_address(limits, clock, storage, key):
    limits.RATE_LIMIT_PER_ADDRESS = 2
    client = Client(headers={"host": "evil.example"})
    statuses = [client.get(one("x"), headers=key).status_code for _ in range(4)]
    assert statuses == [400, 400, 429, 429]


def test_allowed_hosts_of_every_form_reach_the_api(storage, key, settings):
    settings.ALLOWED_HOSTS = [".example.org", "[::1]"]
    for host in ("chat.example.org", "example.org:8000", "CHAT.example.ORG.", "[::1]:8000"):
        assert Client(headers={"host": host}).get(one("x"), headers=key).status_code == 404
    for host in ("example.com", "badexample.org", "[::2]", "example.org:x"):
        assert Client(headers={"host": host}).get(one("x"), headers=key).status_code == 400
