"""What a client is told if PostgreSQL cannot have a value, or is away."""

from types import SimpleNamespace

import pytest
from django.conf import settings
from django.db import connection
from django.test import Client

from chat.admin import waits
from storage.postgresql import base, url
from storage.startup import availability, schema
from tests.postgresql import as_default

TABLE = SimpleNamespace(
    check_available_sync=lambda: None,
    cache=SimpleNamespace(state=lambda: "none"),
    database=SimpleNamespace(index_problem=lambda: ""),
)
"""A storage that is there."""


@pytest.fixture
def staff(in_postgresql, admin_user):
    client = Client(raise_request_exception=False)
    client.force_login(admin_user)
    return client


def test_a_value_that_it_cannot_have_is_a_mistake_of_the_client(staff):
    assert staff.get("/admin/auth/user/?username=x").status_code == 200
    for page in ("/admin/auth/user/?username=%00", "/admin/auth/user/?q=a&username__exact=%00"):
        answer = staff.get(page)
        assert answer.status_code == 400
        assert b"Bad Request" in answer.content


@pytest.fixture
def server_of_its_own(another_server, transactional_db, monkeypatch):
    """A server without a table that may be ended, and a pool with little patience."""
    monkeypatch.setitem(url.POOL, "timeout", 0.3)
    base.close_pools()  # the next one has that timeout
    with as_default(another_server.url("postgres")):
        yield another_server


def test_a_server_without_its_accounts_is_not_ready(server_of_its_own, monkeypatch):
    monkeypatch.setattr(schema, "is_up_to_date", lambda: True)
    monkeypatch.setattr(availability, "get_storage", lambda: TABLE)
    looks = availability.Looks()
    assert not looks.now().failed
    server_of_its_own.end()
    monkeypatch.setattr(availability, "REMEMBER_SECONDS", 0)
    looks.forget()
    found = looks.now()
    assert (found.failed, found.parts["migrations"]) == ("database", "unknown")
    assert found.detail == "PostgreSQL, which has the accounts, does not answer."
    server_of_its_own.start()
    base.close_pools()
    base._breaker.succeeded()
    looks.forget()
    assert not looks.now().failed


PAGES = {
    "list": lambda client: client.get("/admin/storage/chatinteraction/"),
    "log-in": lambda client: client.post("/admin/login/", {"username": "ada", "password": "x"}),
}


@pytest.mark.parametrize("asked", PAGES)
def test_a_page_does_not_wait_for_good_while_it_hangs(server_of_its_own, monkeypatch, asked):
    monkeypatch.setattr(waits, "ANSWER_SECONDS", 0.3)
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    connection.close()  # the pool has it for whoever comes next
    client = Client(raise_request_exception=False)
    client.cookies[settings.SESSION_COOKIE_NAME] = "a" * 32
    server_of_its_own.suspend()
    try:
        answer = PAGES[asked](client)
    finally:
        server_of_its_own.resume()
    assert answer.status_code == 503
    assert answer["Retry-After"]
    assert "has not answered in time" in answer.content.decode()
