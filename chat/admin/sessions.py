"""How long a session of the admin lasts: a number of hours at most, and less if it is not used."""

import time
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.contrib.auth.signals import user_logged_in
from django.contrib.sessions.backends.base import SessionBase
from django.contrib.sessions.backends.db import SessionStore
from django.dispatch import receiver
from django.http import HttpRequest
from django.http.response import HttpResponseBase

GetResponse = Callable[[HttpRequest], HttpResponseBase]

BEGAN = "began"
"""When whoever has the session logged in, in seconds of the epoch."""

SEEN = "seen"
"""When it was used last, likewise. It may be a tenth of the idle limit old, to save writes."""


class SessionLimits:
    """Ends sessions that are too old or were idle for too long. Stands after SessionMiddleware."""

    def __init__(self, get_response: GetResponse) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Return the response, to nobody if the session has ended."""
        cookie = request.COOKIES.get(settings.SESSION_COOKIE_NAME)
        if cookie is not None and not cookie.isprintable():
            request.session = SessionStore()  # PostgreSQL refuses to look for a NUL
        elif cookie is not None and SESSION_KEY in request.session:
            _check(request.session)
        return self._get_response(request)


def _check(session: SessionBase) -> None:
    now = int(time.time())
    if BEGAN not in session:  # it is older than this rule
        session[BEGAN] = session[SEEN] = now
    idle = now - session[SEEN]
    if now - session[BEGAN] >= settings.SESSION_COOKIE_AGE or idle >= settings.SESSION_IDLE_SECONDS:
        session.flush()
    elif idle >= settings.SESSION_IDLE_SECONDS / 10:
        session[SEEN] = now


@receiver(user_logged_in)
def _begin(request: HttpRequest, **about: Any) -> None:
    request.session[BEGAN] = request.session[SEEN] = int(time.time())
    SessionStore.clear_expired()  # nobody else does
