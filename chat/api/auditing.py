"""Writes what staff read through the API, with their session, to the audit log."""

from collections.abc import Mapping

from django.http import HttpRequest
from rest_framework.exceptions import PermissionDenied

from chat.api.addresses import address_of
from chat.api.exchange import Call
from storage.accounts import audit_log
from storage.accounts.audit_log import Action


def record_reading(
    request: HttpRequest, call: Call, name: str, arguments: Mapping[str, str]
) -> None:
    """Append an entry about a call by a session. `name` and `arguments` are those of the function.

    The API masks nothing. So PermissionDenied (403) is raised for staff who may not read texts.
    Raises StorageError: then nothing must be shown.
    """
    has_texts = "usage" not in name  # that is numbers
    if has_texts and not call.caller.may_read_texts:
        raise PermissionDenied(
            "Your account lacks the permission to read messages and responses. The admin shows "
            "you interactions without them."
        )
    user_id = arguments.get("user_id", "") or request.GET.get("user_id", "")
    # Of other calls it is a part of the address: `interactions/search/`.
    interaction_id = arguments.get("interaction_id", "") if name == "get_interaction" else ""
    audit_log.record(
        _action(name, interaction_id),
        call.caller.staff,
        address=address_of(request.META),
        user_id=user_id,
        interaction_id=interaction_id,
        details={"api": name, "parameters": sorted(request.GET)},
    )


def _action(name: str, interaction_id: str) -> Action:
    if "search" in name:
        return Action.SEARCHED
    return Action.READ if interaction_id else Action.LISTED
