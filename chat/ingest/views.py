"""What the addresses for tools have in common: they lose nothing that a tool could send again.

The tools that send here try again after a 503, and for some 7 seconds only. After 408, 413, 429 and
500 some of them throw everything away. So whatever is temporary is a 503, which asks to come back
soon.
"""

import logging
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import orjson
from django.http import HttpResponse
from rest_framework.request import Request

from chat.api.authentication import caller_of
from chat.api.problems import Unavailable, problem_response
from chat.api.views import StoreView
from chat.ingest import counts
from chat.ingest.bodies import read_unpacked
from chat.ingest.calls import LeftOut, Translated
from chat.ingest.keeping import Taken, keep
from chat.ingest.reasons import Reason

logger = logging.getLogger(__name__)

RETRY_SECONDS_MAX = 3
"""OpenTelemetry's exporter gives up at once if it would have to wait for longer than 10 s."""

TEMPORARY = (429, 500, 503, 507)
"""Statuses that are told as 503."""

UNREADABLE = (400, 411, 413, 415)
"""Statuses of a body that no tool can do anything about; few tools show them to anybody."""


class IngestView(StoreView):
    """Takes the calls of models that a tool reports."""

    http_method_names = ["post"]
    instead_of_key = "What is sent again changes nothing."
    source: ClassVar[str]
    """Its name in metrics."""

    def translated(self, body: bytes, environ: Mapping[str, Any]) -> Iterable[Translated]:
        """The calls in a body. Raises InvalidRequest if it cannot be read."""
        raise NotImplementedError

    def answer(self, taken: Taken) -> HttpResponse:
        """The response, 200: it says what was left out."""
        raise NotImplementedError

    def problem(self, response: HttpResponse) -> HttpResponse:
        """The response to an error, of which `response` has the problem document."""
        return response

    def post(self, request: Request) -> HttpResponse:
        """Store what came."""
        environ = request._request.META
        calls = self.translated(read_unpacked(environ), environ)
        taken = keep(calls, caller_of(request).user_id)
        counts.record(self.source, taken)
        return self.answer(taken)

    def handle_exception(self, exc: Exception) -> Any:
        """The response to an error: 503 if it may go well the next time."""
        try:
            response: HttpResponse = super().handle_exception(exc)
        except Exception:
            logger.exception("A mistake of ours while taking in what came from %s.", self.source)
            response = problem_response(500, "Server error", "The server made a mistake.")
        if response.status_code in UNREADABLE:
            counts.record(self.source, Taken(1, left_out=[LeftOut(Reason.UNREADABLE)]))
        return self.problem(_temporary(response))


def _temporary(response: HttpResponse) -> HttpResponse:
    if response.status_code not in TEMPORARY:
        return response
    seconds = min(int(response.get("Retry-After", "1")), RETRY_SECONDS_MAX)
    again = problem_response(503, Unavailable.title, detail_of(response), Unavailable.slug)
    again["Retry-After"] = str(seconds)
    return again


def detail_of(problem: HttpResponse) -> str:
    """What a problem document says is wrong."""
    return str(orjson.loads(problem.content)["detail"])
