"""Handlers for Django's test client: one for each way that a request can take.

`LongWay` is Django's own. `ShortWay` first asks `config.entrance`, as the server does.
"""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.test.client import ClientHandler

from config.entrance import Entrance

LongWay = ClientHandler


class ShortWay(ClientHandler):
    """As `config.handler` takes requests, and as Django's test client wants to have responses."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.taken = 0

    def load_middleware(self, is_async: bool = False) -> None:
        self._entrance = Entrance()
        super().load_middleware(is_async)  # after which other threads use this handler

    def get_response(self, request: HttpRequest) -> HttpResponseBase:
        reply = self._entrance.answer(request.META)
        if reply is None:
            return super().get_response(request)
        self.taken += 1
        status, headers, body = reply
        assert len(dict(headers)) == len(headers), "A header is there twice."
        code, _, reason = status.partition(" ")
        return HttpResponse(body, status=int(code), reason=reason, headers=dict(headers))


def unknown(get_response: Any) -> Any:
    """Middleware that nobody knows, so that a server leaves all calls to Django."""
    return get_response
