"""Who sees the texts of a user: staff who may read them, once they have said why, for a while.

Every page that shows a message, a response or a part of one asks `may_see(request, user_id)` for
each user whose text is on it, and shows `hidden(text)` where the answer is no. A page that shows
texts also writes an audit entry first (`chat.admin.auditing.record`). A superuser is no exception.

What was revealed is kept in the session (`chat.revealed`), which the API asks, too.
"""

from django import forms
from django.http import HttpRequest

from chat import revealed
from chat.admin import auditing
from storage.accounts.audit_log import Action

READ_TEXTS = "storage.read_texts"

LONG_HIDDEN = "of an interaction over 128 KB, hidden"
"""In place of a text that was not fetched, because it would not be shown."""


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
    return may_reveal(request) and revealed.is_revealed(request, user_id)


def reveal(request: HttpRequest, user_id: str, interaction_id: str, reason: str) -> None:
    """Show the texts of a user from now on, for a while, to whoever asks.

    `reason` is one that `RevealForm` has accepted. The entry in the audit log comes first: raises
    StorageError if it cannot be written, and then nothing is shown.
    """
    auditing.record(
        request, Action.REVEALED, user_id=user_id, interaction_id=interaction_id, reason=reason
    )
    revealed.remember(request, user_id)


def hidden(text: str | bytes) -> str:
    """What stands in place of a text, or of a large one that is not here (bytes)."""
    if isinstance(text, bytes):
        return LONG_HIDDEN
    return f"{len(text):,} character{'' if len(text) == 1 else 's'}, hidden"
