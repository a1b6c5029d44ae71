"""The calls for interactions. `chat.api.operations` documents them."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

from django.http import HttpRequest, HttpResponse
from rest_framework.authentication import BaseAuthentication
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView

from chat.api import auditing, calls, operations, searches
from chat.api.authentication import Caller, caller_of
from chat.api.exchange import JSON, Answer, Call
from chat.api.idempotency import HEADER
from chat.api.problems import InvalidRequest
from chat.api.rate_limits import count_call
from storage.records.json import dumps


class StoreView(APIView):
    """The base of all views. It leaves out the parts of DRF that these calls do not need."""

    http_method_names = ["get", "head", "post", "patch", "delete"]
    instead_of_key: str | None = "Repeating this call has no further effect."
    """What to do without an Idempotency-Key. None: writes of this view take one."""

    is_limited = True
    """Whether calls count for the limit of their API key."""
    _allow: str
    """The methods that a response names."""
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
        self.refuse_ignored_key(request._request.META, request.method or "")

    def check_throttles(self, request: Request) -> None:
        """Count the call for the limit of its API key. Raises QuotaExceeded."""
        self.limit_headers = self.counted(caller_of(request))

    @classmethod
    def counted(cls, caller: Caller) -> Mapping[str, str]:
        """Count a call for the limit of its API key. Returns headers. Raises QuotaExceeded."""
        return count_call(caller.key_prefix) if cls.is_limited and caller.key_prefix else {}

    @classmethod
    def refuse_ignored_key(cls, environ: Mapping[str, Any], method: str) -> None:
        """Refuse an Idempotency-Key that would be ignored: its sender relies on it.

        Raises InvalidRequest.
        """
        if HEADER in environ and method not in SAFE_METHODS and cls.instead_of_key is not None:
            raise InvalidRequest(f"Leave out Idempotency-Key here. {cls.instead_of_key}")

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        """Set Content-Length, as CommonMiddleware does; calls with a key skip that."""
        for name, value in self.limit_headers.items():
            response[name] = value
        response["Content-Length"] = str(len(response.content))
        super().finalize_response(request, response, *args, **kwargs)
        return response

    @classmethod
    def refusal(
        cls, error: Exception, request: HttpRequest, limit_headers: Mapping[str, str]
    ) -> HttpResponse:
        """The response to an error of a call that `config.entrance` has made. Raises a bug again.

        `limit_headers` are those that `counted` has returned.
        """
        view = cls()
        view.limit_headers = limit_headers
        view.headers = view.default_response_headers
        view.request = view.initialize_request(request)
        return view.finalize_response(view.request, view.handle_exception(error))


def answering(function: Callable[..., Answer]) -> Callable[..., HttpResponse]:
    """The method of a view that answers with a function of `chat.api.calls`.

    `config.entrance` finds the function in its attribute `call`.
    """

    def method(self: StoreView, request: Request, **arguments: str) -> HttpResponse:
        call = call_of(request)
        if call.caller.staff:
            answer = auditing.answer_staff(request._request, call, function, arguments)
        else:
            answer = function(call, **arguments)
        response = HttpResponse(answer.body, content_type=JSON, status=answer.status)
        for name, value in answer.headers:
            response[name] = value
        return response

    method.call = function  # type: ignore[attr-defined]  # functions may have attributes
    return method


class InteractionsView(StoreView):
    """The interactions of all users."""

    instead_of_key = None
    get = operations.list_interactions(answering(calls.list_interactions))
    post = operations.create_interaction(answering(calls.create_interaction))


class InteractionView(StoreView):
    """One interaction by id."""

    get = operations.get_interaction(answering(calls.get_interaction))
    patch = operations.complete_interaction(answering(calls.complete_interaction))
    delete = operations.delete_interaction(answering(calls.delete_interaction))


class BatchView(InteractionView):
    """Many interactions in one step. Other methods are for the interaction with the id `batch`."""

    instead_of_key = "Give each interaction an interaction_id: then repeating a batch is harmless."
    _allow = "POST"
    post = operations.create_interactions(answering(calls.create_interactions))


class LookupView(InteractionView):
    """Earlier answers. Other methods are for the interaction with the id `lookup`."""

    _allow = "POST"
    post = operations.look_up_answer(answering(calls.look_up_answer))


class SearchView(InteractionView):
    """A search. Methods that write are for the interaction with the id `search`, which lists and
    searches show, and no read by its address.
    """

    _allow = "GET, HEAD"
    get = operations.search_interactions(answering(searches.search_interactions))


class UserInteractionsView(StoreView):
    """One user's interactions."""

    get = operations.list_user_interactions(answering(calls.list_user_interactions))


@functools.cache
def _instances(classes: tuple[type[Any], ...]) -> list[Any]:
    return [cls() for cls in classes]


def call_of(request: Request) -> Call:
    """The call in a request whose caller DRF has authenticated."""
    return Call.of(request._request, caller_of(request))


def json_response(data: Any) -> HttpResponse:
    """A response with any data that orjson can write."""
    return HttpResponse(dumps(data), content_type=JSON)
