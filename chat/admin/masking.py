"""Who sees the texts of a user: staff who may read them, once they have said why, for a while.

Every page that shows a message, a response or a part of one asks `may_see(request, user_id)` for
each user whose text is on it, and shows `hidden(text)` where the answer is no. A page that shows
texts also writes an audit entry first (`chat.admin.auditing.record`). A superuser is no exception.

What was revealed is kept in the session as a digest: neither a text nor a user's id is in it.
"""

import time

from django import forms
from django.http import HttpRequest
from django.utils.crypto import salted_hmac

from chat.admin import auditing
from storage.accounts.audit_log import Action

READ_TEXTS = "storage.read_texts"

REVEALED_SECONDS = 15 * 60

REVEALED_AT_MOST = 100
"""Users in one session. The one that was revealed first makes room."""

_IN_SESSION = "revealed"


class RevealForm(forms.Form):
    """The reason for which somebody wants to see the texts of a user."""

    reason = forms.CharField(
        min_length=10,
        max_length=500,
        error_messages={
            "required": "Give a reason of 10 to 500 characters.",
            "min_length": "Give a reason of 10 to 500 characters; this one has %(show_value)d.",
            "max_length": "Give a reason of 10 to 500 characters; this one has %(show_value)d.",
        },
    )


def may_reveal(request: HttpRequest) -> bool:
    """Whether whoever asks may see texts, if there is a reason."""
    return request.user.has_perm(READ_TEXTS)


def may_see(request: HttpRequest, user_id: str) -> bool:
    """Whether whoever asks sees the texts of this user now. Costs no query."""
    if not may_reveal(request):
        return False
    return _now() < _revealed(request).get(_digest(request, user_id), 0)


def reveal(request: HttpRequest, user_id: str, interaction_id: str, reason: str) -> None:
    """Show the texts of a user from now on, for REVEALED_SECONDS, to whoever asks.

    `reason` is one that `RevealForm` has accepted. The entry in the audit log comes first: raises
    StorageError if it cannot be written, and then nothing is shown.
    """
    auditing.record(
        request, Action.REVEALED, user_id=user_id, interaction_id=interaction_id, reason=reason
    )
    revealed = {digest: until for digest, until in _revealed(request).items() if _now() < until}
    revealed.pop(_digest(request, user_id), None)
    revealed[_digest(request, user_id)] = _now() + REVEALED_SECONDS
    request.session[_IN_SESSION] = dict(list(revealed.items())[-REVEALED_AT_MOST:])


def hidden(text: str) -> str:
    """What stands in place of a text."""
    return f"{len(text):,} character{'' if len(text) == 1 else 's'}, hidden"


def _revealed(request: HttpRequest) -> dict[str, int]:
    revealed: dict[str, int] = request.session.get(_IN_SESSION, {})
    return revealed


def _digest(request: HttpRequest, user_id: str) -> str:
    return salted_hmac(__name__, f"{request.user.pk} {user_id}", algorithm="sha256").hexdigest()


def _now() -> int:
    return int(time.time())
