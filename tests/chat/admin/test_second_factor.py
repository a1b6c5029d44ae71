"""The second factor: who needs a code, and which codes are taken."""

from base64 import b32decode
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import OperationalError
from django.test import Client
from django.utils import timezone
from django_otp.oath import TOTP
from django_otp.plugins.otp_totp import models

from chat.admin.second_factor import LONGEST_REST_SECONDS, MOST_FAILURES
from tests.chat.limits import limits

pytestmark = pytest.mark.every_sql(exhaustive=True)

__all__ = ["limits"]

LOGIN = "/admin/login/"


class Time:
    """The clock of the codes."""

    now = 1_800_000_000.0

    def time(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Time()
    monkeypatch.setattr(models, "time", clock)
    return clock


@pytest.fixture(autouse=True)
def root(limits, transactional_db):
    return User.objects.create_superuser("root", password="right")


@pytest.fixture
def code(root, clock, capsys):
    """The code of root at this moment."""
    call_command("second_factor", "root")
    secret = b32decode(capsys.readouterr().out.split()[0])

    def now():
        totp = TOTP(secret)
        totp.time = clock.now
        return f"{totp.token():06}"

    return now


def log_in(code="", password="right", name="root"):
    form = {"username": name, "password": password, "next": "/admin/", "code": code}
    return Client().post(LOGIN, form).status_code == 302


def test_account_without_one_needs_none(root):
    assert log_in()


def test_account_with_one_needs_the_code_of_this_moment(code, clock):
    for wrong in ("", "abc", f"{(int(code()) + 1) % 1_000_000:06}"):
        assert not log_in(wrong)
        clock.now += 60  # django-otp lets a device rest after a wrong code
        models.TOTPDevice.objects.update(throttling_failure_timestamp=None)
    assert log_in(code())


def test_code_does_not_replace_the_password(code):
    assert not log_in(code(), password="wrong")
    assert log_in(code())


def test_code_works_once(code):
    spent = code()
    assert log_in(spent)
    assert not log_in(spent)


def test_code_of_another_account_is_none(code, limits):
    User.objects.create_superuser("grace", password="right")
    call_command("second_factor", "grace")
    assert not log_in(code(), name="grace")


def test_who_lacks_the_code_is_not_told_that_the_password_was_right(code):
    form = {"username": "root", "next": "/admin/"}
    pages = [
        Client().post(LOGIN, form | {"password": password}).content.decode()
        for password in ("right", "wrong")
    ]
    said = ["its code if it has a second factor" in page for page in pages]
    assert said == [True, True]


def test_wrong_codes_lock_the_login(code, limits, clock):
    limits.LOGIN_TRIES = 2
    assert not log_in("000000")
    assert not log_in("")
    clock.now += 600
    models.TOTPDevice.objects.update(throttling_failure_timestamp=None)
    assert not log_in(code())


def test_a_command_ends_the_rest_after_wrong_codes(code, limits):
    """Otherwise it is more than an hour after twenty, also for the right code."""
    limits.LOGIN_TRIES = 5
    resting = {"throttling_failure_count": 20, "throttling_failure_timestamp": timezone.now()}
    models.TOTPDevice.objects.update(**resting)
    call_command("unlock_login", "grace")
    assert not log_in(code())
    call_command("unlock_login", "root")
    assert log_in(code())


def test_the_rest_after_wrong_codes_has_an_end(code, limits):
    """Otherwise who knows the password alone could keep the account out for years."""
    limits.LOGIN_TRIES = 100
    passed = timezone.now() - timedelta(seconds=LONGEST_REST_SECONDS)
    for failures in (20, MOST_FAILURES + 1):
        for seconds, is_in in ((60, False), (-60, True)):
            models.TOTPDevice.objects.update(
                throttling_failure_count=failures,
                throttling_failure_timestamp=passed + timedelta(seconds=seconds),
                last_t=-1,
            )
            assert log_in(code()) == is_in, (failures, seconds)


def test_each_wrong_code_still_doubles_the_rest_up_to_that(code, limits):
    limits.LOGIN_TRIES = 100
    device = models.TOTPDevice.objects
    for failures in range(1, 4):
        assert not log_in("000000" if code() != "000000" else "000001")
        assert device.get().throttling_failure_count == failures
        device.update(throttling_failure_timestamp=timezone.now() - timedelta(hours=2))


def test_form_asks_for_the_code():
    page = Client().get(LOGIN).content.decode()
    assert 'name="code"' in page
    assert 'form="login-form"' in page
    assert 'id="login-form"' in page


def test_removing_it_lets_the_password_suffice(code):
    call_command("second_factor", "root", "--remove")
    assert log_in()
    with pytest.raises(CommandError, match="root has no second factor"):
        call_command("second_factor", "root", "--remove")


def test_new_one_replaces_the_old(code):
    old = code()
    call_command("second_factor", "root")
    assert not log_in(old)


def test_old_one_stays_if_there_is_no_new_one(code, monkeypatch):
    def fail(**about):
        raise OperationalError("database is locked")

    monkeypatch.setattr(models.TOTPDevice.objects, "create", fail)
    with pytest.raises(OperationalError):
        call_command("second_factor", "root")
    assert log_in(code())
    assert not log_in(), "the password alone does not suffice"


def test_unknown_account_is_refused():
    with pytest.raises(CommandError, match="There is no account eve"):
        call_command("second_factor", "eve")


def test_no_page_shows_the_secrets(root):
    client = Client()
    client.force_login(root)
    assert client.get("/admin/otp_totp/totpdevice/").status_code == 404
