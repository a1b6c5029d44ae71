"""The way in for calls with an API key, past Django's request, its middleware and DRF.

Those take several times as long as a call itself. What is not taken here goes through Django,
before any of it has been read or counted, and both ways end in the same functions of
`chat.api.calls`. All that surrounds these comes from where Django has it, so that no client can
tell the ways apart: routes from `chat.api.urls`, headers from the middleware, and errors from the
views.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http.client import responses
from typing import Any

from django.conf import settings
from django.core.handlers.exception import response_for_exception
from django.core.handlers.wsgi import WSGIRequest
from django.db import connections
from django.http import HttpRequest, HttpResponse
from django.middleware.security import SecurityMiddleware
from django.urls import URLPattern, resolve
from django.utils.log import log_response

from chat.api.authentication import ApiKeyAuthentication, caller_with_key
from chat.api.exchange import JSON, Answer, Call
from chat.api.urls import urlpatterns
from chat.api.views import StoreView
from chat.current import note_pattern
from config.headers import SecurityHeaders
from config.middleware import is_allowed
from config.request_bodies import media_type

Headers = list[tuple[str, str]]
Reply = tuple[str, Headers, bytes]
"""Status, headers and body, as WSGI has them."""

PREFIX = "/api/v1/"

SCHEME = f"{ApiKeyAuthentication.keyword} "
"""How the header with a key begins."""

AROUND = [
    "config.headers.SecurityHeaders",
    "django.middleware.security.SecurityMiddleware",
    "config.middleware.ShortcutEntrance",
]
"""The middleware around all calls with a key: up to where they go past the rest."""

PAST = [
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "chat.api.middleware.AddressLimit",
    "chat.admin.waits.LimitedWaits",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "chat.admin.sessions.SessionLimits",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "config.middleware.shortcut_exit",
]
"""The middleware that does nothing to these calls. Django calls methods such as `process_view` of
all middleware, and what stands after the exit is not passed, so the whole list must be known."""

STATUS_LINES = {int(status): f"{status:d} {phrase}" for status, phrase in responses.items()}


class Request(WSGIRequest):
    """Django's, which would look up the charset that Content-Type names. All is UTF-8 here.

    Python keeps the name of each encoding that it was asked for, and reading parameters can take
    quadratic time.
    """

    def _set_content_type_params(self, meta: Mapping[str, Any]) -> None:
        self.content_type = media_type(meta)
        self.content_params = {}


class Route:
    """One of `chat.api.urls`, with those of its methods that need no request of Django."""

    def __init__(self, pattern: URLPattern) -> None:
        self.view: type[StoreView] = pattern.callback.cls  # type: ignore[attr-defined]  # DRF's
        methods = {name: getattr(self.view, name, None) for name in self.view.http_method_names}
        self.functions: dict[str, Callable[..., Answer]] = {
            name.upper(): function
            for name, method in methods.items()
            if (function := getattr(method, "call", None))
        }
        self.headers = tuple(self.view().default_response_headers.items())
        self.pattern = str(pattern.pattern)
        self._beginning = self.pattern.partition("<")[0]
        self.has_parameters = self._beginning != self.pattern
        self._match = pattern.pattern.match
        self._defaults = pattern.default_args

    def arguments(self, path: str) -> Mapping[str, Any] | None:
        """The arguments of a view at this path, or None if it is another one's."""
        if not path.startswith(self._beginning):  # cheaper than its regular expression
            return None
        found = self._match(path)
        return None if found is None else found[2] | self._defaults


@dataclass(slots=True)
class Taken:
    """A call that is answered here."""

    route: Route
    method: str
    arguments: Mapping[str, Any]
    scheme: str
    around: Headers


class _Connections(threading.local):
    """Django's connections of the calling thread. To look them up takes longer than a hit."""

    def __init__(self) -> None:
        self._all = connections.all()

    def close_old(self) -> None:
        """Close what a call has left open, as Django does at the end of each request."""
        for connection in self._all:
            if connection.connection is not None:
                connection.close_if_unusable_or_obsolete()


class Entrance:
    """Answers calls with an API key.

    It does not send the signals of a request: of their receivers, only the one that closes
    connections had anything to do, and the signals took a third of a read by id from the cache.
    """

    def __init__(self) -> None:
        self._connections = _Connections()
        routes = [Route(pattern) for pattern in urlpatterns]
        self._with_parameters = [route for route in routes if route.has_parameters]
        self._exact = {
            route.pattern: _first(routes, route.pattern)
            for route in routes
            if not route.has_parameters
        }
        """What is at an address that is a pattern by itself. To look in here first saves 2 µs."""
        self._around = {scheme: _around(scheme) for scheme in _schemes()}
        self._scheme = _scheme if settings.SECURE_PROXY_SSL_HEADER else _scheme_of_server
        self._hosts = tuple(settings.ALLOWED_HOSTS)

    def answer(self, environ: dict[str, Any]) -> Reply | None:
        """The reply to a request, or None if Django is to answer it."""
        is_plain = self._around and _is_plain(environ, self._hosts)
        taken = self._taken(environ) if is_plain else None
        if taken is None:
            return None
        note_pattern(taken.route.pattern)
        try:
            return _reply(environ, taken)
        finally:
            self._connections.close_old()

    def _taken(self, environ: dict[str, Any]) -> Taken | None:
        scheme = self._scheme(environ)
        around = self._around.get(scheme)
        if around is None:
            return None
        path, method = environ["PATH_INFO"].removeprefix("/"), environ["REQUEST_METHOD"]
        found = self._exact.get(path) or _first(self._with_parameters, path)
        if found is None or method not in found[0].functions:
            return None
        return Taken(found[0], method, found[1], scheme, around)


def _first(routes: Sequence[Route], path: str) -> tuple[Route, Mapping[str, Any]] | None:
    """The first of the routes that has this path, and the arguments of its view."""
    for route in routes:
        arguments = route.arguments(path)
        if arguments is not None:
            return route, arguments
    return None


def _schemes() -> tuple[str, ...]:
    """The schemes under which calls are taken: none if settings ask for what is not done here."""
    as_known = list(settings.MIDDLEWARE) == [*AROUND, *PAST]
    if not as_known or settings.DEBUG or settings.USE_X_FORWARDED_HOST:
        return ()
    if settings.FORCE_SCRIPT_NAME is not None:
        return ()
    return ("https",) if settings.SECURE_SSL_REDIRECT else ("http", "https")


class _Probe(HttpRequest):
    """A call to the API under a scheme."""

    def __init__(self, scheme: str) -> None:
        super().__init__()
        self.path = self.path_info = PREFIX
        self._scheme = scheme

    @property
    def scheme(self) -> str:
        return self._scheme


def _around(scheme: str) -> Headers:
    """The headers that the middleware adds to each response."""
    response = HttpResponse()
    del response["Content-Type"]
    secured: Any = SecurityMiddleware(lambda request: response)
    around = SecurityHeaders(secured)
    return list(around(_Probe(scheme)).items())


def _is_plain(environ: dict[str, Any], hosts: tuple[str, ...]) -> bool:
    """Whether this may be a call with a key, and is one that Django would read as it stands."""
    path: str = environ["PATH_INFO"]
    get = environ.get
    return (
        path.startswith(PREFIX)
        and get("HTTP_AUTHORIZATION", "").startswith(SCHEME)
        and path.isascii()
        and not (get("SCRIPT_NAME") or get("SCRIPT_URL") or get("REDIRECT_URL"))
        and is_allowed(get("HTTP_HOST", ""), hosts)
    )


def _scheme_of_server(environ: dict[str, Any]) -> str:
    """As `request.scheme` tells it where no header of a proxy does."""
    scheme: str = environ["wsgi.url_scheme"]
    return scheme


def _scheme(environ: dict[str, Any]) -> str:
    """As `request.scheme` tells it, with the header of a proxy if there is one."""
    request = WSGIRequest.__new__(WSGIRequest)  # without what takes time
    request.environ = request.META = environ
    return str(request.scheme)


def _reply(environ: dict[str, Any], taken: Taken) -> Reply:
    route, method = taken.route, taken.method
    limit_headers: Mapping[str, str] = {}
    try:
        caller = caller_with_key(environ["HTTP_AUTHORIZATION"], environ)
        limit_headers = route.view.counted(caller)
        route.view.refuse_ignored_key(environ, method)
        origin = f"{taken.scheme}://{environ['HTTP_HOST']}"
        call = Call(caller, environ, environ["PATH_INFO"], origin)
        answer = route.functions[method](call, **taken.arguments)
    except Exception as error:
        response = _refusal(error, environ, route.view, limit_headers)
        headers = [*response.items(), *taken.around]
        return STATUS_LINES[response.status_code], headers, response.content
    headers = [
        ("Content-Type", JSON),
        *answer.headers,
        *limit_headers.items(),
        ("Content-Length", str(len(answer.body))),
        *route.headers,
        *taken.around,
    ]
    return STATUS_LINES[answer.status], headers, answer.body


def _refusal(
    error: Exception,
    environ: dict[str, Any],
    view: type[StoreView],
    limit_headers: Mapping[str, str],
) -> HttpResponse:
    """The response to an error, as Django's handler and DRF make and log it."""
    request = Request(environ)
    request.resolver_match = resolve(request.path_info)
    try:
        response = view.refusal(error, request, limit_headers)
    except Exception as bug:
        response = response_for_exception(request, bug)
    if response.status_code >= 400:
        log_response(
            "%s: %s", response.reason_phrase, request.path, response=response, request=request
        )
    return response
