"""Erasing a user over the API, and the progress of an erasure.

A user whose id ends in `/interactions` or `/export` can only be erased with `manage.py erase_user`.
Such an address means the list or the export of another user, and DELETE is refused there (405).
The same holds for an id with a dot segment, which is older than the rule in `storage.limits`: who
asks for `users/ada/../bobby/` may be understood as asking for `users/bobby/`.
"""

import logging
from typing import Any

from django.http import HttpResponse
from django.urls import reverse
from rest_framework.request import Request

from chat.api import operations, parameters
from chat.api.authentication import caller_of
from chat.api.problems import Conflict, InvalidRequest, NotFound, Unavailable
from chat.api.views import StoreView, call_of, json_response
from chat.maintenance.erasure import erasing, ledger
from chat.maintenance.erasure.attempt import UserHeld
from chat.maintenance.erasure.ledger import Erasure
from chat.maintenance.identity import ArchiveMismatch, require_archive
from storage import get_storage, limits

logger = logging.getLogger(__name__)

REQUEST_SECONDS = 2.0
"""How long a request works on an erasure. `manage.py erase_user --pending` continues it."""


class UserView(StoreView):
    """All data of a user."""

    @operations.erase_user
    def delete(self, request: Request, user_id: str) -> HttpResponse:
        caller_of(request).require_erasure()
        parameters.refuse_parameters(call_of(request))
        if problem := limits.new_identifier_violation(user_id):
            hint = " Use manage.py erase_user." if limits.has_dot_segment(user_id) else ""
            raise InvalidRequest(f"The user id {problem}{hint}")
        try:
            erasure = erasing.request(get_storage(), user_id, caller_of(request).identity)
        except UserHeld as error:
            raise Conflict(str(error)) from error
        except ArchiveMismatch as error:
            logger.error("No erasure was started: %s", error)
            raise Unavailable("The archive is not available.", retry_after=60) from error
        erasure = erasing.begin(get_storage(), erasure, REQUEST_SECONDS)
        response = _response(erasure)
        if erasure.status != "done":
            response.status_code = 202
        response["Location"] = reverse("erasure", args=[erasure.erasure_id])
        return response


class ErasureView(StoreView):
    """An erasure by its id."""

    @operations.get_erasure
    def get(self, request: Request, erasure_id: str) -> HttpResponse:
        caller_of(request).require_erasure()
        parameters.refuse_parameters(call_of(request))
        storage = get_storage()
        erasure = ledger.find(storage.archive, erasure_id)
        if erasure is None:
            require_archive(storage)
            raise NotFound("There is no such erasure.")
        return _response(erasure)


def _response(erasure: Erasure) -> Any:
    return json_response(erasure.as_record())
