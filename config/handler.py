"""Django's WSGI handler, adapted to granian and to this project's connections."""

import logging
from collections.abc import Generator, Iterable, Iterator
from typing import Any

from django.conf import settings
from django.core.cache import close_caches
from django.core.handlers.wsgi import WSGIHandler
from django.core.signals import request_finished, request_started
from django.db import close_old_connections, reset_queries
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import ResolverMatch

from chat.api.problems import Problem, ServerError, Unavailable, exception_handler
from chat.current import note_route
from config import requests, tracing
from config.admission import (
    BUSY_SECONDS,
    LARGE,
    Admission,
    Part,
    Room,
    leave,
    may_be_refused,
    wait,
)
from config.entrance import Entrance, Request
from config.headers import protect
from config.middleware import HEALTH
from config.request_bodies import admit, has_body
from config.watched import Watched

logger = logging.getLogger(__name__)

STATIC = f"/{settings.STATIC_URL.strip('/')}/"

STATIC_ROUTE = ResolverMatch(lambda: None, (), {}, route="static/")
"""Static files are sent by a middleware, before any address is resolved."""

CHUNK = 64 * 1024
"""Bytes of a large response that are sent at once."""


class Handler(WSGIHandler):
    """Takes on the requests that `config.admission` has places for, and refuses the others.

    Each request ends before its response is sent, unless the response is streamed. A client that
    reads slowly then holds no database connection. Granian sends a list in one piece; an iterator
    would cost the server 5 % more CPU time in a read by id.
    """

    request_class = Request

    def __init__(self) -> None:
        super().__init__()
        self.admission = Admission(settings.THREADS, settings.READS_AT_ONCE)
        self._entrance = Entrance()

    def __call__(  # type: ignore[override]  # a response is one kind of iterable
        self, environ: dict[str, Any], start_response: Any
    ) -> Iterable[bytes]:
        """Return the body: a list with one item, or a stream. Counts and logs the request."""
        request = Watched(environ, start_response)
        try:
            if tracing.active is None:
                response = self._answer(environ, request.start_response)
            else:
                with tracing.active.of_request(request, environ):
                    response = self._answer(environ, request.start_response)
        except Exception:
            logger.exception("The server made a mistake.")
            problem = ServerError("The server made a mistake.")
            response = _refused(environ, request.start_response, problem)
        if isinstance(response, Stream):
            response.request = request
            return response
        requests.end(request, len(response[0]))
        return response

    def get_response(self, request: HttpRequest) -> HttpResponseBase:
        """Django's response. Notes the route, by which the request is counted and logged."""
        response = super().get_response(request)
        if request.path_info.startswith(STATIC):
            note_route(STATIC_ROUTE)
        else:
            note_route(request.resolver_match)
        return response

    def _answer(self, environ: dict[str, Any], start_response: Any) -> "list[bytes] | Stream":
        taken: list[Room | Part] = []
        for room in self.admission.rooms(environ):
            if not room.enter():
                leave(taken)
                problem = Unavailable("The server is busy.", retry_after=BUSY_SECONDS)
                return _refused(environ, start_response, problem)
            taken.append(room)
        stream = None
        try:
            response = self._admitted(environ, start_response)
            if isinstance(response, list):
                if len(response[0]) <= LARGE or not may_be_refused(environ):
                    return response
                if not self.admission.large_responses.enter():
                    problem = Unavailable("Too many clients are reading.", retry_after=BUSY_SECONDS)
                    return _refused(environ, start_response, problem)
                taken.append(self.admission.large_responses)
                response = _chunks(response[0])
            stream = Stream(response, taken)
            return stream
        finally:
            if stream is None:
                leave(taken)

    def _admitted(self, environ: dict[str, Any], start_response: Any) -> Any:
        if has_body(environ) and (problem := admit(environ, self.admission)):
            return _refused(environ, start_response, problem)
        if environ["PATH_INFO"] in HEALTH:
            return self._answered(environ, start_response)
        places = self.admission.places_to_work(environ)
        wait(places)
        try:
            return self._answered(environ, start_response)
        finally:
            leave(places)

    def _answered(self, environ: dict[str, Any], start_response: Any) -> Any:
        if reply := self._entrance.answer(environ):
            status, headers, body = reply
            start_response(status, headers)
            return [body]
        response = super().__call__(environ, start_response)
        if not isinstance(response, HttpResponse):
            return response
        response.close()
        return [response.content]


def _chunks(content: bytes) -> Generator[bytes, None, None]:
    """A large response in parts, so that granian waits for its reader between them."""
    for start in range(0, len(content), CHUNK):
        yield content[start : start + CHUNK]


class Stream:
    """A streamed response. It has its places until granian closes it."""

    def __init__(self, response: Any, taken: list[Room | Part]) -> None:
        self._response = response
        self._taken = taken
        self._sent = 0
        self.request: Watched | None = None

    def __iter__(self) -> Iterator[bytes]:
        """The chunks of the response."""
        for chunk in self._response:
            self._sent += len(chunk)
            yield chunk

    def close(self) -> None:
        """The client has read it, or has left."""
        try:
            self._response.close()
        finally:
            leave(self._taken)
            if self.request is not None:
                requests.end(self.request, self._sent)


def _refused(environ: dict[str, Any], start_response: Any, problem: Problem) -> list[bytes]:
    """The response to a request that is neither read nor shown to Django."""
    response = exception_handler(problem, {})
    assert response is not None
    if not environ["PATH_INFO"].startswith("/api/"):
        response.headers["Content-Type"] = "text/plain; charset=utf-8"
        response.content = str(problem.detail)
    response.headers["Content-Length"] = str(len(response.content))
    protect(response, environ["PATH_INFO"])
    start_response(f"{response.status_code} {response.reason_phrase}", list(response.items()))
    return [response.content]


def disconnect_idle_receivers() -> None:
    """Disconnect the receivers of Django's request signals that have nothing to do here.

    It holds for the whole process, so only `config.wsgi` calls it. It saves 14 µs of each request:
    an eighth of the CPU time of a read by id (without granian).
    """
    # Connections are closed when a request ends, so none is old when the next one starts.
    request_started.disconnect(close_old_connections)
    if not settings.DEBUG:
        request_started.disconnect(reset_queries)  # Django records queries in DEBUG only
    # The memory cache and the pool of Redis connections stay open between requests.
    request_finished.disconnect(close_caches)
