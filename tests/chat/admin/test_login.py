"""The login: how many passwords may be tried, by whom, and how many at once."""

import threading
import unicodedata

import pytest
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import OperationalError
from django.test import Client

from chat.admin import login as login_module
from storage.exceptions import StorageUnavailable
from storage.rate_limits.metrics import REFUSED
from storage.startup import rate_limits
from tests.chat.limits import clock, limits

pytestmark = pytest.mark.every_sql(exhaustive=True)

__all__ = ["clock", "limits"]

LOGIN = "/admin/login/"
MINUTE = 60


@pytest.fixture(autouse=True)
def staff(limits, transactional_db, monkeypatch):
    """Two accounts. A refused login is a small page, and the real one in `test_audit.py`."""
    site = login_module.admin.site._wrapped
    monkeypatch.setattr(site, "login_template", "admin/login_refused.html")
    limits.LOGIN_TRIES = 5
    for name in ("root", "grace"):
        User.objects.create_superuser(name, password="right")


STRANGER = Client()


def stranger():
    """A browser that nobody has used. To make another takes as long as an attempt."""
    STRANGER.cookies.clear()
    return STRANGER


def attempt(password="wrong", name="root", address="192.0.2.7", browser=None):
    form = {"username": name, "password": password, "next": "/admin/"}
    return (browser or stranger()).post(LOGIN, form, REMOTE_ADDR=address)


def statuses(times, **what):
    return [attempt(**what).status_code for _ in range(times)]


def test_after_five_wrong_passwords_not_even_the_right_one_is_tried(clock):
    assert statuses(5) == [200] * 5
    response = attempt("right")
    assert response.status_code == 429
    assert response["Retry-After"] == str(15 * MINUTE)
    assert "Try again in 15 minutes." in response.content.decode()


def test_a_locked_login_checks_no_password(clock, monkeypatch):
    statuses(5)
    monkeypatch.setattr(login_module.admin.site, "login", None)
    assert attempt("right").status_code == 429


def test_after_the_time_it_is_open_again_and_the_next_lock_takes_twice_as_long(clock):
    statuses(5)
    clock.passes(15 * MINUTE - 1)
    assert attempt("right").status_code == 429
    clock.passes(1)
    assert statuses(5) == [200] * 5
    assert attempt()["Retry-After"] == str(30 * MINUTE)
    clock.passes(30 * MINUTE)
    assert attempt("right").status_code == 302


def test_attempts_while_it_is_locked_do_not_prolong_it(clock):
    statuses(5)
    clock.passes(10 * MINUTE)
    statuses(20)
    clock.passes(5 * MINUTE)
    assert attempt("right").status_code == 302


def test_the_right_password_makes_the_mistakes_before_it_forgotten(clock):
    for _ in range(4):
        assert statuses(4) == [200] * 4
        assert attempt("right").status_code == 302


@pytest.mark.parametrize(
    ("what", "error"),
    [
        ("storage.accounts.audit_log.record", StorageUnavailable("The database failed.")),
        ("django.contrib.auth.models.UserManager.get_by_natural_key", OperationalError("locked")),
    ],
)
def test_while_the_database_is_away_no_login_is_locked(clock, monkeypatch, what, error):
    def fail(*arguments, **about):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(what, fail)
        browsers = [Client(raise_request_exception=False) for _ in range(6)]
        assert [attempt("right", browser=each).status_code for each in browsers] == [503] * 6
    assert statuses(4) == [200] * 4
    assert attempt("right").status_code == 302


def test_mistakes_of_long_ago_do_not_count(clock):
    assert statuses(4) == [200] * 4
    clock.passes(15 * MINUTE)
    assert statuses(4) == [200] * 4
    assert attempt("right").status_code == 302


def test_other_addresses_and_other_accounts_are_not_locked(clock):
    statuses(5)
    assert attempt("right", address="192.0.2.8").status_code == 302
    assert attempt("right", name="grace").status_code == 302


def test_an_address_has_a_number_of_tries_for_all_accounts(clock):
    for number in range(20):
        assert attempt(name=f"name{number}").status_code == 200
    assert attempt("right", name="grace").status_code == 429
    assert attempt("right", name="grace", address="192.0.2.8").status_code == 302


def test_an_account_has_a_number_of_tries_from_all_addresses(clock):
    for number in range(50):
        assert attempt(address=f"198.51.100.{number}").status_code == 200
    assert attempt("right").status_code == 429
    assert attempt("right", name="grace").status_code == 302


def test_nobody_can_lock_out_a_browser_that_has_logged_in_before(clock, limits):
    limits.LOGIN_TRIES = 2
    browser = Client()
    assert attempt("right", browser=browser).status_code == 302
    browser.post("/admin/logout/")
    for number in range(20):
        attempt(address=f"198.51.100.{number}")
    statuses(2)
    assert attempt("right").status_code == 429
    assert attempt("wrong", browser=browser).status_code == 200
    assert attempt("right", browser=browser).status_code == 302


def test_that_browser_has_no_more_tries_than_others_and_none_for_other_accounts(clock):
    browser = Client()
    attempt("right", browser=browser)
    assert statuses(5, browser=browser) == [200] * 5
    assert attempt("right", browser=browser).status_code == 429
    cookie = browser.cookies[login_module.COOKIE]
    assert (cookie["path"], cookie["httponly"], cookie["samesite"]) == (LOGIN, True, "Lax")
    statuses(5, name="grace")
    assert attempt("right", name="grace", browser=browser).status_code == 429


def test_other_writings_of_a_name_are_no_further_tries(clock):
    for name in ("root", "\uff52oot", "ro\uff4ft", " root", "root "):
        assert attempt(name=name).status_code == 200
    assert attempt("right").status_code == 429


def test_of_a_long_name_only_the_beginning_is_normalized(clock, monkeypatch):
    """It can take quadratic time."""
    lengths, normalize = [0], unicodedata.normalize

    def watched(form, text):
        lengths.append(len(text))
        return normalize(form, text)

    monkeypatch.setattr(login_module.unicodedata, "normalize", watched)
    assert attempt(name="é" * 1000).status_code == 200
    assert max(lengths) <= login_module.NAME_LENGTH + 1


def test_one_network_of_ipv6_is_one_address(clock):
    for number in range(5):
        assert attempt(address=f"2001:db8::{number}").status_code == 200
    assert attempt("right", address="2001:db8::99").status_code == 429


def test_the_log_says_who_and_whence_but_no_password_and_no_unknown_name(clock, caplog):
    for number in range(5):
        attempt(f"secret{number}")
    attempt("x", name="hunter2-in-the-wrong-field\nINFO forged")
    lines = [r.getMessage() for r in caplog.records if r.name == login_module.__name__]
    assert lines == [
        *["Login failed: 'root' from 192.0.2.7."] * 5,
        "Login locked for 900 s: 'root' from 192.0.2.7.",
        "Login failed: an unknown account from 192.0.2.7.",
    ]


def test_refusals_are_counted(clock):
    before = REFUSED.labels("login")._value.get()
    statuses(7)
    assert REFUSED.labels("login")._value.get() == before + 2


def test_a_lock_outlives_the_process(clock):
    statuses(5)
    rate_limits.forget()
    assert attempt("right").status_code == 429


def test_a_command_lifts_it(clock, capsys):
    statuses(5)
    call_command("unlock_login", "root")
    assert attempt("right").status_code == 429
    call_command("unlock_login", "root", "192.0.2.7")
    assert attempt("right").status_code == 302
    assert "Wrong passwords of root and 192.0.2.7 are forgotten." in capsys.readouterr().out


def test_a_command_lifts_it_from_browsers_that_have_logged_in_before(clock):
    browser, other = Client(), Client()
    for each in (browser, other):
        attempt("right", browser=each)
        statuses(5, browser=each)
        assert attempt("right", browser=each).status_code == 429
    call_command("unlock_login", "grace")
    assert attempt("right", browser=browser).status_code == 429
    call_command("unlock_login", "root")
    assert attempt("right", browser=browser).status_code == 302
    assert attempt("right", browser=other).status_code == 302


def test_a_lifted_lock_is_none_of_before_once_more(clock):
    browser = Client()
    attempt("right", browser=browser)
    for _ in range(2):
        assert statuses(5, browser=browser) == [200] * 5
        assert attempt("right", browser=browser).status_code == 429
        clock.steady += 1
        call_command("unlock_login", "root")


def test_without_tries_in_the_settings_nothing_is_locked(limits):
    limits.LOGIN_TRIES = 0
    assert statuses(21) == [200] * 21
    assert attempt("right").status_code == 302


@pytest.mark.parametrize("form", [{}, {"username": "root"}, {"username": "\0", "password": "x"}])
def test_forms_that_are_none_are_shown_again(form):
    assert Client().post(LOGIN, form).status_code == 200


def test_a_form_without_its_token_is_refused_before_anything_is_counted(clock):
    strict = Client(enforce_csrf_checks=True)
    assert statuses(10, browser=strict) == [403] * 10
    assert attempt("right").status_code == 302


class Slow(PBKDF2PasswordHasher):
    """Takes until the test lets it go."""

    algorithm = "slow"
    running = threading.Semaphore(0)
    go = threading.Event()
    at_once: list = []
    now = 0

    def encode(self, password, salt, iterations=None):
        Slow.now += 1
        Slow.at_once.append(Slow.now)
        Slow.running.release()
        Slow.go.wait()
        Slow.now -= 1
        return super().encode(password, salt, 1)


def test_one_password_is_checked_at_a_time_and_few_wait(limits):
    # An unknown name, so that the check needs no database, whose rows are this thread's.
    limits.PASSWORD_HASHERS = [f"{__name__}.Slow"]
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(attempt(name="nobody", browser=Client())))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    Slow.running.acquire()
    while login_module._queue._value:  # until the second one waits
        pass
    response = attempt(name="nobody", address="192.0.2.9")
    assert (response.status_code, response["Retry-After"]) == (503, "1")
    assert "Try again in a second." in response.content.decode()
    Slow.go.set()
    for thread in threads:
        thread.join()
    assert [response.status_code for response in found] == [200, 200]
    assert max(Slow.at_once) == 1
