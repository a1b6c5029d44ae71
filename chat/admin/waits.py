"""How long a page for staff waits for PostgreSQL."""

from collections.abc import Callable

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from storage.sql.vendors import answered_within

GetResponse = Callable[[HttpRequest], HttpResponseBase]

ANSWER_SECONDS = 5.0
"""For each statement. A look-up of a key has less, but a page may have to wait for the lock of the
audit log, too."""


class LimitedWaits:
    """Stands before all that asks for the session. If PostgreSQL hangs, the response is a 503.

    Without it such a page would wait for good, and hold one of the server's threads.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Return the response. An OperationalError on the way is one of `handler500`."""
        with answered_within(ANSWER_SECONDS):
            return self._get_response(request)
