"""What goes into a function of `chat.api.calls`, and what comes out."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from django.http import HttpRequest

from chat.api.authentication import Caller

JSON = "application/json"
"""The media type of every answer."""


@dataclass(slots=True)
class Call:
    """A request to the API whose caller is known."""

    caller: Caller
    environ: Mapping[str, Any]
    """Headers, query string and body, as WSGI has them (PEP 3333)."""
    path: str
    origin: str
    """Scheme and host, under which the client knows this server."""

    @classmethod
    def of(cls, request: HttpRequest, caller: Caller) -> "Call":
        """The call in a request of Django."""
        origin = f"{request.scheme}://{request.get_host()}"
        return cls(caller, request.META, request.path, origin)


class Answer(NamedTuple):
    """A response to a call: its body is JSON, or empty."""

    body: bytes
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    """What this call adds to the headers of every response."""
