"""Headers that tell browsers and caches what they may do with a response.

They are constants, so that they cost a call of the API next to nothing. No page has an inline
script, so none needs a nonce. The admin allows two things that it cannot do without: Alpine, which
Unfold uses, evaluates the expressions in the attributes of a page, and Unfold puts its colours into
a style element.
"""

from collections.abc import Callable

from django.apps import apps
from django.http import HttpRequest
from django.http.response import HttpResponseBase

GetResponse = Callable[[HttpRequest], HttpResponseBase]

NOTHING = "default-src 'none'; frame-ancestors 'none'"
"""For what is no page."""

_PAGE = (
    "default-src 'none'; script-src 'self'{eval}; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; font-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
PAGE = _PAGE.format(eval="")
ALPINE_PAGE = _PAGE.format(eval=" 'unsafe-eval'")

NO_STORE = "no-store"


class SecurityHeaders:
    """Stands first, and sets the headers of every response that Django makes."""

    def __init__(self, get_response: GetResponse) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Return the response with its headers."""
        response = self._get_response(request)
        protect(response, request.path_info)
        return response


def protect(response: HttpResponseBase, path: str) -> None:
    """Set what a response to a request for this path allows."""
    headers = response.headers
    headers["Content-Security-Policy"] = _policy(path)
    if "Cache-Control" not in headers:  # static files have one, and pages of the admin
        headers["Cache-Control"] = NO_STORE


def _policy(path: str) -> str:
    if path.startswith("/api/v1/"):
        return NOTHING
    if path.startswith("/admin/"):
        return ALPINE_PAGE if apps.is_installed("unfold") else PAGE
    return PAGE if path == "/api/docs/" else NOTHING
