"""Django's WSGI handler, for a server that takes an answer in one piece."""

from collections.abc import Iterable
from typing import Any

from django.conf import settings
from django.core.cache import close_caches
from django.core.handlers.wsgi import WSGIHandler
from django.core.signals import request_finished, request_started
from django.db import close_old_connections, reset_queries
from django.http import HttpResponse


class Handler(WSGIHandler):
    """Ends each request before its answer leaves, save for an answer that is streamed.

    So a slow client holds no database connection, and the server is spared an iterator.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # The request before has ended, so there is nothing to clear up when the next begins.
        request_started.disconnect(close_old_connections)
        if not settings.DEBUG:
            request_started.disconnect(reset_queries)  # queries are kept in DEBUG only
        # Neither memory nor a pool of connections is closed after a request.
        request_finished.disconnect(close_caches)

    def __call__(  # type: ignore[override]  # a response is one kind of iterable
        self, environ: dict[str, Any], start_response: Any
    ) -> Iterable[bytes]:
        """Answer a request. A list is what granian sends at once."""
        response = super().__call__(environ, start_response)
        if not isinstance(response, HttpResponse):
            return response
        response.close()
        return [response.content]
