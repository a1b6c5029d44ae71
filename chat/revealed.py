"""Whose texts a session of staff shows: those of users for whom a reason was given, for a while.

It is kept in the session as digests: neither a text nor a user's id is in it. `chat.admin.masking`
asks for the reason and writes it into the audit log, before it calls `remember`.
"""

import time

from django.contrib.auth import SESSION_KEY
from django.http import HttpRequest
from django.utils.crypto import salted_hmac

REVEALED_SECONDS = 15 * 60

REVEALED_AT_MOST = 100
"""Users in one session. The one that was revealed first makes room."""

_IN_SESSION = "revealed"


def is_revealed(request: HttpRequest, user_id: str) -> bool:
    """Whether the texts of this user are revealed now, in this session. Costs no query."""
    return _now() < _revealed(request).get(_digest(request, user_id), 0)


def remember(request: HttpRequest, user_id: str) -> None:
    """Reveal the texts of a user from now on, for REVEALED_SECONDS."""
    revealed = {digest: until for digest, until in _revealed(request).items() if _now() < until}
    revealed.pop(_digest(request, user_id), None)
    revealed[_digest(request, user_id)] = _now() + REVEALED_SECONDS
    request.session[_IN_SESSION] = dict(list(revealed.items())[-REVEALED_AT_MOST:])


def _revealed(request: HttpRequest) -> dict[str, int]:
    revealed: dict[str, int] = request.session.get(_IN_SESSION, {})
    return revealed


def _digest(request: HttpRequest, user_id: str) -> str:
    account = request.session.get(SESSION_KEY)  # in the API, `request.user` is a Caller
    return salted_hmac(__name__, f"{account} {user_id}", algorithm="sha256").hexdigest()


def _now() -> int:
    return int(time.time())
