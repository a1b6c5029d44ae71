"""Erasing a person over the API, and seeing how far it is.

The addresses `users/<id>/interactions/` and `users/<id>/export/` come first. A user whose id ends
in `/interactions` or `/export` is therefore erased by `manage.py erase_user` only: DELETE on such
an address is refused (405), rather than guess who is meant.
"""

import logging
from typing import Any

from django.http import HttpResponse
from django.urls import reverse
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request

from chat.api import parameters, schema
from chat.api.authentication import caller_of
from chat.api.problems import Conflict, InvalidRequest, NotFound, Unavailable
from chat.api.views import StoreView, json_response
from chat.maintenance.erasure import erasing, ledger
from chat.maintenance.erasure.erasing import Erased, UserHeld
from chat.maintenance.erasure.ledger import Erasure
from chat.maintenance.identity import ArchiveMismatch
from chat.maintenance.policy import Policy
from chat.maintenance.runs import LockHeld, OutOfTime, Run
from storage import get_storage, limits
from storage.exceptions import StorageError

logger = logging.getLogger(__name__)

REQUEST_SECONDS = 2.0
"""How long a request works on an erasure. `manage.py erase_user --pending` does the rest."""

erase_user = extend_schema(
    operation_id="erase_user",
    tags=["users"],
    auth=schema._API_KEY_ONLY,
    summary="Erase a user",
    description="For service-wide API keys that may erase and export users. 200 if all layers have "
    "confirmed that nothing is left; 202 if it goes on, with its address in `Location`. A repeat "
    "while it is pending gives the same erasure. 409 if the user is under a legal hold. An id that "
    "ends in `/interactions` or `/export` is for `manage.py erase_user` only.",
    parameters=[OpenApiParameter("user_id", str, "path", description="The user.")],
    responses=schema._answers(
        (*schema._WRITING, 404, 409),
        _200=(schema.ErasureState, "Nothing of the user is left."),
        _202=(schema.ErasureState, "It goes on."),
    ),
)
get_erasure = extend_schema(
    operation_id="get_erasure",
    tags=["users"],
    auth=schema._API_KEY_ONLY,
    summary="How far an erasure is",
    parameters=[OpenApiParameter("erasure_id", str, "path", description="Its id.")],
    responses=schema._answers(
        (*schema._READING, 404), _200=(schema.ErasureState, "Its state, and its receipt.")
    ),
)


class UserView(StoreView):
    """A user, as a whole."""

    @erase_user
    def delete(self, request: Request, user_id: str) -> HttpResponse:
        caller_of(request).require_erasure()
        parameters.refuse_parameters(request._request)
        if problem := limits.identifier_violation(user_id):
            raise InvalidRequest(f"The user id {problem}")
        try:
            erasure = erasing.request(get_storage(), user_id)
        except UserHeld as error:
            raise Conflict(str(error)) from error
        except ArchiveMismatch as error:
            logger.error("No erasure was begun: %s", error)
            raise Unavailable("The archive is not available.", retry_after=60) from error
        erasure = _begun(erasure)
        response = _response(erasure)
        if erasure.status == "pending":
            response.status_code = 202
        response["Location"] = reverse("erasure", args=[erasure.erasure_id])
        return response


class ErasureView(StoreView):
    """An erasure by its id."""

    @get_erasure
    def get(self, request: Request, erasure_id: str) -> HttpResponse:
        caller_of(request).require_erasure()
        parameters.refuse_parameters(request._request)
        erasure = ledger.find(get_storage().archive, erasure_id)
        if erasure is None:
            raise NotFound("There is no such erasure.")
        return _response(erasure)


def _begun(erasure: Erasure) -> Erasure:
    """The erasure, as far as it gets in one request. What fails now is tried again by cron."""
    storage = get_storage()
    try:
        with Run(storage, max_seconds=REQUEST_SECONDS) as run:
            return erasing.attempt(storage, erasure, Policy.at(run.now), run, Erased())
    except (LockHeld, OutOfTime):
        pass
    except StorageError as error:
        logger.error("The erasure %s is pending: %s", erasure.erasure_id, error)
    return ledger.find(storage.archive, erasure.erasure_id) or erasure


def _response(erasure: Erasure) -> Any:
    return json_response(erasure.as_record())
