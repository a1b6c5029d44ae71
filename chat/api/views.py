"""The calls of the API. See `chat.api.schema` for their documentation."""

import functools
from typing import Any

from django.http import HttpRequest, HttpResponse
from rest_framework.authentication import BaseAuthentication
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView

from chat.api import bodies, parameters, schema
from chat.api.authentication import caller_of
from chat.api.idempotency import idempotency
from chat.api.problems import NotFound
from storage import expiry, get_storage
from storage.models import ChatInteraction
from storage.records.json import dumps, format_time, to_json
from storage.records.pages import Page, PageQuery


class StoreView(APIView):
    """What the calls share."""

    http_method_names = ["get", "head", "post", "patch", "delete"]
    _allow: str

    def __init_subclass__(cls) -> None:
        """Find out once which methods there are; DRF would for each answer."""
        methods = [
            name
            for name in cls.http_method_names
            if hasattr(cls, "get" if name == "head" else name)
        ]
        cls._allow = ", ".join(methods).upper()

    @property
    def default_response_headers(self) -> dict[str, str]:
        """As DRF has them."""
        return {"Allow": self._allow}

    def get_authenticators(self) -> list[BaseAuthentication]:
        """Made once: they keep nothing of a request."""
        return _one_of_each(tuple(self.authentication_classes))

    def get_permissions(self) -> list[BasePermission]:
        """Made once: they keep nothing of a request."""
        return _one_of_each(tuple(self.permission_classes))

    def initialize_request(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Request:
        """Without parsers and negotiation: `chat.api.bodies` reads bodies, of one type."""
        return Request(request, authenticators=self.get_authenticators())

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Without negotiation: there is one version and one representation, whatever `Accept`
        says (RFC 9110, section 12.4.1), and views give ready responses.
        """
        self.perform_authentication(request)
        self.check_permissions(request)
        self.check_throttles(request)

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        """With its length: calls with a key go past CommonMiddleware, which would set it."""
        response["Content-Length"] = str(len(response.content))
        super().finalize_response(request, response, *args, **kwargs)
        return response


class InteractionsView(StoreView):
    """Everyone's interactions."""

    @schema.list_interactions
    def get(self, request: Request) -> HttpResponse:
        caller = caller_of(request)
        caller.require_every_user()
        query = parameters.page_query(request._request)
        page = get_storage().list_interactions_sync(query)
        return page_response(request._request, query, page)

    @schema.create_interaction
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

    @schema.get_interaction
    def get(self, request: Request, interaction_id: str) -> HttpResponse:
        caller = caller_of(request)
        parameters.refuse_parameters(request._request)
        found = get_storage().get_json_sync(interaction_id, user_id=caller.user_id)
        if found is None:
            raise unknown_interaction()
        return HttpResponse(found, content_type="application/json")

    @schema.complete_interaction
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

    @schema.delete_interaction
    def delete(self, request: Request, interaction_id: str) -> HttpResponse:
        caller = caller_of(request)
        parameters.refuse_parameters(request._request)
        if not get_storage().delete_interaction_sync(interaction_id, user_id=caller.user_id):
            raise unknown_interaction()
        return HttpResponse(status=204, content_type="application/json")


class BatchView(InteractionView):
    """Many interactions in one step. Other methods reach the interaction whose id is `batch`."""

    @schema.create_interactions
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
    """Answers already given. Other methods reach the interaction whose id is `lookup`."""

    @schema.look_up_answer
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

    @schema.list_user_interactions
    def get(self, request: Request, user_id: str) -> HttpResponse:
        caller = caller_of(request)
        caller.require(user_id)
        query = parameters.page_query(request._request)
        page = get_storage().list_user_interactions_sync(user_id, query)
        return page_response(request._request, query, page)


@functools.cache
def _one_of_each(classes: tuple[type[Any], ...]) -> list[Any]:
    return [each() for each in classes]


def unknown_interaction() -> NotFound:
    """The same answer for what does not exist and for what is another user's."""
    return NotFound("There is no such interaction.")


def interaction_response(interaction: ChatInteraction, status: int = 200) -> HttpResponse:
    """One interaction as JSON."""
    return HttpResponse(to_json(interaction), content_type="application/json", status=status)


def page_response(request: HttpRequest, query: PageQuery, page: Page) -> HttpResponse:
    """A page of interactions, with the address of the next, and where the archive begins."""
    data = {"results": page.records, "next": parameters.next_url(request, page)}
    if query.tier == "hot":
        data["archived_until"] = format_time(expiry.hot_since())
    return json_response(data)


def json_response(data: Any) -> HttpResponse:
    """Any data as JSON."""
    return HttpResponse(dumps(data), content_type="application/json")
