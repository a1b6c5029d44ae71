"""The calls for interactions. `chat.api.operations` documents them."""

import functools
from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest, HttpResponse
from rest_framework.authentication import BaseAuthentication
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView

from chat.api import bodies, operations, parameters
from chat.api.authentication import caller_of
from chat.api.idempotency import HEADER, idempotency
from chat.api.problems import InvalidRequest, NotFound
from chat.api.rate_limits import count_call
from storage import expiry, get_storage
from storage.models import ChatInteraction
from storage.records.json import dumps, format_time, to_json
from storage.records.pages import Page, PageQuery


class StoreView(APIView):
    """The base of all views. It leaves out the parts of DRF that these calls do not need."""

    http_method_names = ["get", "head", "post", "patch", "delete"]
    instead_of_key: str | None = "Repeating this call has no further effect."
    """What to do without an Idempotency-Key. None: writes of this view take one."""

    is_limited = True
    """Whether calls count for the limit of their API key."""
    _allow: str
    limit_headers: Mapping[str, str] = {}

    def __init_subclass__(cls) -> None:
        """List the methods once for each class, as DRF does for each response.

        A class that sets `_allow` itself names the methods that its address is meant for.
        """
        if "_allow" in vars(cls):
            return
        methods = [
            name
            for name in cls.http_method_names
            if hasattr(cls, "get" if name == "head" else name)
        ]
        cls._allow = ", ".join(methods).upper()

    @property
    def default_response_headers(self) -> dict[str, str]:
        """The same as DRF's."""
        return {"Allow": self._allow}

    def get_authenticators(self) -> list[BaseAuthentication]:
        """Instances that all requests share, since they keep no state."""
        return _instances(tuple(self.authentication_classes))

    def get_permissions(self) -> list[BasePermission]:
        """Instances that all requests share, since they keep no state."""
        return _instances(tuple(self.permission_classes))

    def initialize_request(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Request:
        """Leave out parsers and content negotiation: `chat.api.bodies` reads the bodies."""
        return Request(request, authenticators=self.get_authenticators())

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Leave out negotiation: whatever `Accept` says, there is one version and one media type
        (RFC 9110, section 12.4.1).
        """
        self.perform_authentication(request)
        self.check_permissions(request)
        self.check_throttles(request)
        if HEADER in request._request.META and request.method not in SAFE_METHODS:
            self._require_that_key_counts()

    def _require_that_key_counts(self) -> None:
        """Refuse an Idempotency-Key that would be ignored: its sender relies on it."""
        if self.instead_of_key is not None:
            raise InvalidRequest(f"Leave out Idempotency-Key here. {self.instead_of_key}")

    def check_throttles(self, request: Request) -> None:
        """Count the call for the limit of its API key. Raises QuotaExceeded."""
        caller = caller_of(request)
        if self.is_limited and caller.key_prefix:
            self.limit_headers = count_call(caller.key_prefix)

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        """Set Content-Length, as CommonMiddleware does; calls with a key skip that."""
        for name, value in self.limit_headers.items():
            response[name] = value
        response["Content-Length"] = str(len(response.content))
        super().finalize_response(request, response, *args, **kwargs)
        return response


class InteractionsView(StoreView):
    """The interactions of all users."""

    instead_of_key = None

    @operations.list_interactions
    def get(self, request: Request) -> HttpResponse:
        caller = caller_of(request)
        caller.require_every_user()
        query = parameters.page_query(request._request)
        page = get_storage().list_interactions_sync(query)
        return page_response(request._request, query, page)

    @operations.create_interaction
    def post(self, request: Request) -> HttpResponse:
        caller = caller_of(request)
        parameters.refuse_parameters(request._request)
        body = bodies.read_body(request._request, bodies.BODY_LIMIT)
        interaction = bodies.new_interaction(body)
        caller.require(interaction.user_id)
        replay = idempotency(request._request, caller, body)
        stored, created = get_storage().create_interaction_sync(interaction, replay)
        response = interaction_response(stored, status=201 if created or replay else 200)
        if replay and not created:
            response["Idempotent-Replayed"] = "true"
        return response


class InteractionView(StoreView):
    """One interaction by id."""

    @operations.get_interaction
    def get(self, request: Request, interaction_id: str) -> HttpResponse:
        caller = caller_of(request)
        parameters.refuse_parameters(request._request)
        found = get_storage().get_json_sync(interaction_id, user_id=caller.user_id)
        if found is None:
            raise unknown_interaction()
        return HttpResponse(found, content_type="application/json")

    @operations.complete_interaction
    def patch(self, request: Request, interaction_id: str) -> HttpResponse:
        caller = caller_of(request)
        parameters.refuse_parameters(request._request)
        changes = bodies.completion(bodies.read_body(request._request, bodies.BODY_LIMIT))
        interaction = get_storage().update_interaction_sync(
            interaction_id, changes, user_id=caller.user_id
        )
        if interaction is None:
            raise unknown_interaction()
        return interaction_response(interaction)

    @operations.delete_interaction
    def delete(self, request: Request, interaction_id: str) -> HttpResponse:
        caller = caller_of(request)
        parameters.refuse_parameters(request._request)
        if not get_storage().delete_interaction_sync(interaction_id, user_id=caller.user_id):
            raise unknown_interaction()
        return HttpResponse(status=204, content_type="application/json")


class BatchView(InteractionView):
    """Many interactions in one step. Other methods are for the interaction with the id `batch`."""

    instead_of_key = "Give each interaction an interaction_id: then repeating a batch is harmless."
    _allow = "POST"

    @operations.create_interactions
    def post(self, request: Request, interaction_id: str) -> HttpResponse:
        caller = caller_of(request)
        parameters.refuse_parameters(request._request)
        interactions = bodies.new_interactions(
            bodies.read_body(request._request, bodies.BATCH_BODY_LIMIT)
        )
        for interaction in interactions:
            caller.require(interaction.user_id)
        outcomes = get_storage().create_interactions_sync(interactions)
        results = [
            {"interaction_id": interaction.interaction_id, "status": outcome}
            for interaction, outcome in zip(interactions, outcomes, strict=True)
        ]
        return json_response({"results": results})


class LookupView(InteractionView):
    """Earlier answers. Other methods are for the interaction with the id `lookup`."""

    _allow = "POST"

    @operations.look_up_answer
    def post(self, request: Request, interaction_id: str) -> HttpResponse:
        caller = caller_of(request)
        parameters.refuse_parameters(request._request)
        question = bodies.question(bodies.read_body(request._request, bodies.BODY_LIMIT))
        caller.require(question.user_id)
        found = get_storage().find_answer_json_sync(question)
        if found is None:
            raise NotFound("This user got no such answer to this message.")
        return HttpResponse(found, content_type="application/json")


class UserInteractionsView(StoreView):
    """One user's interactions."""

    @operations.list_user_interactions
    def get(self, request: Request, user_id: str) -> HttpResponse:
        caller = caller_of(request)
        caller.require(user_id)
        query = parameters.page_query(request._request)
        page = get_storage().list_user_interactions_sync(user_id, query)
        return page_response(request._request, query, page)


@functools.cache
def _instances(classes: tuple[type[Any], ...]) -> list[Any]:
    return [cls() for cls in classes]


def unknown_interaction() -> NotFound:
    """The error for an interaction that does not exist, or that belongs to another user."""
    return NotFound("There is no such interaction.")


def interaction_response(interaction: ChatInteraction, status: int = 200) -> HttpResponse:
    """A response with one interaction."""
    return HttpResponse(to_json(interaction), content_type="application/json", status=status)


def page_response(request: HttpRequest, query: PageQuery, page: Page) -> HttpResponse:
    """A response with a page, the URL of the next, and in hot lists where the archive begins."""
    data = {"results": page.records, "next": parameters.next_url(request, page)}
    if query.tier == "hot":
        data["archived_until"] = format_time(expiry.hot_since())
    return json_response(data)


def json_response(data: Any) -> HttpResponse:
    """A response with any data that orjson can write."""
    return HttpResponse(dumps(data), content_type="application/json")
