"""Middleware of web pages and of the API without a key."""

from collections.abc import Callable

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from chat.api.problems import problem_of_quota
from chat.api.rate_limits import QuotaExceeded, count_stranger

GetResponse = Callable[[HttpRequest], HttpResponseBase]


class AddressLimit:
    """Counts requests without an API key by their address, and refuses those that are too many."""

    def __init__(self, get_response: GetResponse) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Return the response, or 429."""
        if request.path_info == "/metrics" and "HTTP_AUTHORIZATION" in request.META:
            return self._get_response(request)  # its view looks at the key
        try:
            count_stranger(request.META)
        except QuotaExceeded as error:
            return problem_of_quota(request, error)
        return self._get_response(request)
