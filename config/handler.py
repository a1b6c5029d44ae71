"""Django's WSGI handler, adapted to granian and to this project's connections."""

from collections.abc import Iterable
from typing import Any

from django.conf import settings
from django.core.cache import close_caches
from django.core.handlers.wsgi import WSGIHandler
from django.core.signals import request_finished, request_started
from django.db import close_old_connections, reset_queries
from django.http import HttpResponse


class Handler(WSGIHandler):
    """Ends each request before its response is sent, unless the response is streamed.

    A client that reads slowly then holds no database connection. Granian sends a list in one
    piece; an iterator would cost the server 5 % more CPU time in a read by id.
    """

    def __call__(  # type: ignore[override]  # a response is one kind of iterable
        self, environ: dict[str, Any], start_response: Any
    ) -> Iterable[bytes]:
        """Return the body: a list with one item, or the streamed response itself."""
        response = super().__call__(environ, start_response)
        if not isinstance(response, HttpResponse):
            return response
        response.close()
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
