"""What staff read through the API, with their session: as much as in the admin, and audited."""

from collections.abc import Callable, Mapping

import orjson
from django.http import HttpRequest
from rest_framework.exceptions import PermissionDenied

from chat.api.addresses import address_of
from chat.api.exchange import Answer, Call
from chat.revealed import is_revealed
from storage.accounts import audit_log
from storage.accounts.audit_log import Action

NO_TEXTS = (
    "Your account lacks the permission to read messages and responses. The admin shows you "
    "interactions without them."
)
NOT_REVEALED = (
    "There are interactions here of a user whose texts you have not revealed, or no longer. Open "
    "one of them in the admin and give a reason, or use an API key."
)


def answer_staff(
    request: HttpRequest,
    call: Call,
    function: Callable[..., Answer],
    arguments: Mapping[str, str],
) -> Answer:
    """The answer to a call by a session, once it is in the audit log.

    The API masks nothing. So PermissionDenied (403) is raised for staff who may not read texts,
    and for users whose texts they have not revealed. Raises StorageError: then nothing is shown.
    """
    name = function.__name__
    has_texts = "usage" not in name  # that is numbers
    if has_texts and not call.caller.may_read_texts:
        raise PermissionDenied(NO_TEXTS)
    answer = function(call, **arguments)
    users = _users(answer) if has_texts else set()
    is_shown = all(is_revealed(request, user_id) for user_id in users)
    asked = arguments.get("user_id", "") or request.GET.get("user_id", "")
    # Of other calls it is a part of the address: `interactions/search/`.
    interaction_id = arguments.get("interaction_id", "") if name == "get_interaction" else ""
    details = {"api": name, "parameters": sorted(request.GET)}
    audit_log.record(
        _action(name, interaction_id),
        call.caller.staff,
        address=address_of(request.META),
        user_id=asked or (users.pop() if len(users) == 1 else ""),
        interaction_id=interaction_id,
        details=details if is_shown else details | {"refused": True},
    )
    if not is_shown:
        raise PermissionDenied(NOT_REVEALED)
    return answer


def _users(answer: Answer) -> set[str]:
    """Whose texts are in an answer: one interaction, or a list of them."""
    body = orjson.loads(answer.body)
    return {record["user_id"] for record in body.get("results", [body])}


def _action(name: str, interaction_id: str) -> Action:
    if "search" in name:
        return Action.SEARCHED
    return Action.READ if interaction_id else Action.LISTED
