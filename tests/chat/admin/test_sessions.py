"""How long a session of the admin lasts."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.test import Client
from django.utils import timezone

from chat.admin import sessions
from storage.models import ApiKey
from tests.chat.calls import INTERACTIONS

pytestmark = pytest.mark.every_sql(exhaustive=True)

HOUR = 60 * 60


class Time:
    """The clock of the sessions."""

    now = 1_800_000_000.0

    def time(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Time()
    monkeypatch.setattr(sessions, "time", clock)
    return clock


@pytest.fixture
def staff(clock, transactional_db, settings):
    settings.SESSION_COOKIE_AGE, settings.SESSION_IDLE_SECONDS = 12 * HOUR, HOUR
    client = Client()
    client.force_login(User.objects.create_superuser("root", password="right"))
    return client


A_PAGE = "/admin/jsi18n/"
"""A small one that takes a login."""


def is_in(client, path=A_PAGE):
    return client.get(path).status_code == 200


@pytest.mark.parametrize("path", [A_PAGE, "/admin/", INTERACTIONS])
def test_idle_session_ends(staff, clock, storage, path):
    clock.now += HOUR - 1
    assert is_in(staff, path)
    clock.now += HOUR
    assert not is_in(staff, path)
    assert not is_in(staff, path)


def test_session_in_use_ends_after_its_life(staff, clock):
    for _ in range(23):
        clock.now += HOUR / 2
        assert is_in(staff)
    clock.now += HOUR / 2
    assert not is_in(staff)


def test_logging_in_again_begins_a_new_life(staff, clock):
    for _ in range(23):
        clock.now += HOUR / 2
        assert is_in(staff)
    form = {"username": "root", "password": "right", "next": "/admin/"}
    assert staff.post("/admin/login/", form).status_code == 302
    clock.now += HOUR / 2
    assert is_in(staff)


def test_session_that_has_ended_is_gone_from_the_database(staff, clock):
    session = staff.session.session_key
    clock.now += HOUR
    assert not is_in(staff)
    assert not staff.session.exists(session)


def test_session_from_before_these_limits_lasts_as_long(staff, clock):
    session = staff.session
    del session[sessions.BEGAN], session[sessions.SEEN]
    session.save()
    assert is_in(staff)
    clock.now += HOUR
    assert not is_in(staff)


def test_being_in_use_is_not_written_with_each_request(staff, clock):
    before = staff.session[sessions.SEEN]
    clock.now += HOUR / 10 - 1
    assert is_in(staff)
    assert staff.session[sessions.SEEN] == before
    clock.now += 1
    assert is_in(staff)
    assert staff.session[sessions.SEEN] == clock.now


def test_cookie_ends_with_the_browser(clock, transactional_db):
    User.objects.create_superuser("root", password="right")
    client = Client()
    client.post("/admin/login/", {"username": "root", "password": "right", "next": "/admin/"})
    cookie = client.cookies["sessionid"]
    assert (cookie["max-age"], cookie["expires"], cookie["httponly"]) == ("", "", True)


def test_change_of_password_ends_the_other_sessions(staff):
    root = User.objects.get()
    root.set_password("another")
    root.save()
    assert not is_in(staff)


def test_calls_with_a_key_know_no_sessions(staff, clock, storage):
    _, key = ApiKey.objects.create_key(name="test")
    clock.now += 100 * HOUR
    headers = {"Authorization": f"Api-Key {key}"}
    assert staff.get(INTERACTIONS, headers=headers).status_code == 200


def test_messages_are_in_no_cookie(staff, storage):
    staff.get("/admin/storage/chatinteraction/secret-id/change/")
    assert "messages" not in staff.cookies
    page = staff.get("/admin/storage/chatinteraction/")
    assert "There is no interaction secret-id" in page.content.decode()


def test_a_login_removes_sessions_that_have_expired(staff):
    """Nobody else does, and each login adds one."""
    Session.objects.update(expire_date=timezone.now() - timedelta(seconds=1))
    Client().force_login(User.objects.get())
    assert Session.objects.count() == 1
    assert Session.objects.get().expire_date > timezone.now()
