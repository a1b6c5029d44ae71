"""The admin's login. It bounds how many passwords are tried, and how many at the same time.

A browser that has logged in to an account has a signed cookie that says so. It has its own number
of tries, so nobody else can lock it out. For all others wrong passwords count by account and
address, by address, and by account. https://owasp.org/www-community/Slow_Down_Online_Guessing_Attacks_with_Device_Cookies
"""

import logging
import threading
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.conf import settings
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.crypto import get_random_string
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.debug import sensitive_post_parameters

from chat.admin import auditing
from chat.api.addresses import address_of
from storage.accounts import audit_log
from storage.accounts.audit_log import Action
from storage.exceptions import StorageError
from storage.rate_limits.digests import digest
from storage.rate_limits.metrics import REFUSED
from storage.startup.rate_limits import lockouts

logger = logging.getLogger(__name__)

PER_ADDRESS = 4
"""How many times LOGIN_TRIES an address has for all accounts."""

PER_ACCOUNT = 10
"""How many times LOGIN_TRIES an account has from all addresses."""

COOKIE = "known_browser"
COOKIE_SECONDS = 90 * 24 * 60 * 60

NAME_LENGTH = 150

REFUSALS_A_DAY = 1000
"""How many refused logins each process writes to the audit log on a day, so that who tries names
from many addresses cannot fill the disk. All of them are in the process's own log."""

_checking = threading.Lock()
"""A check takes hundreds of milliseconds of CPU time, on purpose: one at a time in a process."""

_queue = threading.BoundedSemaphore(2)
"""Whoever checks, and one more who waits. Others would hold threads that API calls need."""


@sensitive_post_parameters()
@csrf_protect
@never_cache
def login(request: HttpRequest) -> HttpResponse:
    """The admin's login page; 429 if locked, 503 if too many log in at once."""
    if request.method != "POST":
        return admin.site.login(request)
    attempt = Attempt(request)
    if wait := attempt.wait():
        return _refused(request, 429, "login", wait)
    with _turn() as is_free:
        if not is_free:
            return _refused(request, 503, "busy", 1)
        if wait := attempt.begin():
            return _refused(request, 429, "login", wait)
        try:
            response = admin.site.login(request)
        except DatabaseError:
            attempt.take_back()
            raise
    if response.status_code != 302:
        attempt.failed()
        return response
    try:
        auditing.record(request, Action.LOGGED_IN)
    except StorageError as error:
        attempt.take_back()
        request.session.flush()
        logger.error("The store is unavailable: %s", error)
        return _page(request, 503, "The store did not answer", error=str(error))
    attempt.succeeded(response)
    return response


class Attempt:
    """One try of a password."""

    def __init__(self, request: HttpRequest) -> None:
        # As the form does; otherwise other writings of the same name would be further tries.
        name = request.POST.get("username", "").strip()[: NAME_LENGTH + 1]
        self._name = unicodedata.normalize("NFKC", name)[: NAME_LENGTH + 1]
        self._address = address_of(request.META)
        self._browser = _browser(request, self._name)
        tries: int = settings.LOGIN_TRIES
        if self._browser:
            lifted = lockouts().lifted(browsers_digest(self._name)) if tries else 0
            self._own = digest("login of browser", self._name, self._browser, str(lifted))
            self._shared: dict[bytes, int] = {}
        else:
            self._own = pair_digest(self._name, self._address)
            self._shared = {
                address_digest(self._address): PER_ADDRESS * tries,
                account_digest(self._name): PER_ACCOUNT * tries,
            }
        self._tries = {self._own: tries, **self._shared} if tries else {}

    def wait(self) -> int:
        """Seconds until it may be made, 0 if it may be now."""
        return lockouts().wait(self._tries) if self._tries else 0

    def begin(self) -> int:
        """As `wait`, and if it may be made it counts as failed until more is known."""
        return lockouts().attempt(self._tries) if self._tries else 0

    def take_back(self) -> None:
        """The database has failed, so nobody knows whether the password was wrong."""
        for counted in self._tries:
            lockouts().take_back(counted)

    def succeeded(self, response: HttpResponse) -> None:
        """The password was right: whoever knows it may mistype it again."""
        if self._tries:
            lockouts().forget(self._own)
            for shared in self._shared:
                lockouts().take_back(shared)
        response.set_signed_cookie(
            COOKIE,
            self._browser or get_random_string(22),
            salt=_salt(self._name),
            max_age=COOKIE_SECONDS,
            path=reverse("admin:login"),
            secure=settings.SESSION_COOKIE_SECURE,
            httponly=True,
            samesite="Lax",
        )

    def failed(self) -> None:
        """The password was wrong. Logs it, and the lock-out that may begin with it."""
        accounts = get_user_model().objects.filter(username=self._name)
        known = self._name.isprintable() and accounts.exists()  # PostgreSQL refuses a NUL
        # Somebody may have typed a password into the wrong field.
        account = ascii(self._name) if known else "an unknown account"
        logger.warning("Login failed: %s from %s.", account, self._address)
        _refusals.record(self._name if known else "", self._address)
        if wait := self.wait():
            logger.warning("Login locked for %d s: %s from %s.", wait, account, self._address)


class _Refusals:
    """Writes refused logins to the audit log, up to a number of them a day."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._day = timezone.now().date()
        self._count = 0

    def record(self, account: str, address: str) -> None:
        """Write one. It is refused even if that cannot be written."""
        if not (count := self._counted()):
            return
        details = {"further_today": "not written"} if count == REFUSALS_A_DAY else None
        try:
            audit_log.record(Action.LOGIN_REFUSED, account, address=address, details=details)
        except StorageError as error:
            logger.warning("A refused login is not in the audit log: %s", error)

    def _counted(self) -> int:
        """The number of this one on its day; 0 if there were too many."""
        with self._lock:
            if (today := timezone.now().date()) != self._day:
                self._day, self._count = today, 0
            self._count += 1
            return self._count if self._count <= REFUSALS_A_DAY else 0


_refusals = _Refusals()


def pair_digest(name: str, address: str) -> bytes:
    """Under which failures of an account from an address are counted."""
    return digest("login of account from address", name, address)


def address_digest(address: str) -> bytes:
    """Under which failures from an address are counted."""
    return digest("login from address", address)


def account_digest(name: str) -> bytes:
    """Under which failures of an account are counted."""
    return digest("login of account", name)


def browsers_digest(name: str) -> bytes:
    """Under which it is kept that lock-outs of an account's own browsers were lifted."""
    return digest("login of browsers", name)


def _browser(request: HttpRequest, name: str) -> str:
    """The number of the browser if it has logged in to this account, or else nothing."""
    found = request.get_signed_cookie(COOKIE, "", salt=_salt(name), max_age=COOKIE_SECONDS)
    return found or ""


def _salt(name: str) -> str:
    return f"chat.admin.login:{name}"


@contextmanager
def _turn() -> Iterator[bool]:
    """Whether a password may be checked. Waits for one check of another thread at most."""
    if not _queue.acquire(blocking=False):
        yield False
        return
    try:
        with _checking:
            yield True
    finally:
        _queue.release()


def _refused(request: HttpRequest, status: int, limit: str, seconds: int) -> HttpResponse:
    REFUSED.labels(limit).inc()
    title = "The login is locked" if status == 429 else "The login is busy"
    response = _page(request, status, title, minutes=-(-seconds // 60) if status == 429 else 0)
    response["Retry-After"] = str(seconds)
    return response


def _page(request: HttpRequest, status: int, title: str, **context: Any) -> HttpResponse:
    context |= {"site_title": admin.site.site_title, "title": title}
    return TemplateResponse(request, "admin/login_refused.html", context, status=status)
