"""Django's middleware for people's pages, which calls of the API with a key go past.

A call that shows an API key has no session, no form and no message, so there is nothing
for these to do; together they would cost a third of a read by id. Everything else, the
API in a browser with a staff session included, goes through all of them.
"""

from typing import TYPE_CHECKING, Any

from django.contrib.auth import middleware as auth
from django.contrib.messages import middleware as messages
from django.contrib.sessions import middleware as sessions
from django.http import HttpRequest
from django.middleware import clickjacking, common, csrf
from django.utils.deprecation import MiddlewareMixin
from whitenoise import middleware as whitenoise

if TYPE_CHECKING:
    Base = MiddlewareMixin
else:
    Base = object


def shows_api_key(request: HttpRequest) -> bool:
    """Whether this is a call of the API that is authenticated by its own header."""
    return "HTTP_AUTHORIZATION" in request.META and request.path_info.startswith("/api/v1/")


class PagesOnly(Base):
    """Stands aside for calls that show an API key."""

    def __call__(self, request: HttpRequest) -> Any:
        """Pass the request on, through the middleware or past it."""
        if shows_api_key(request):
            return self.get_response(request)
        return super().__call__(request)


class WhiteNoiseMiddleware(PagesOnly, whitenoise.WhiteNoiseMiddleware):  # type: ignore[misc]
    """Static files."""


class SessionMiddleware(PagesOnly, sessions.SessionMiddleware):
    """Staff sessions."""


class CommonMiddleware(PagesOnly, common.CommonMiddleware):
    """The missing slash at the end of an address."""


class CsrfViewMiddleware(PagesOnly, csrf.CsrfViewMiddleware):
    """Forged forms."""


class AuthenticationMiddleware(PagesOnly, auth.AuthenticationMiddleware):
    """`request.user` of a session."""


class MessageMiddleware(PagesOnly, messages.MessageMiddleware):
    """What the admin tells after an action."""


class XFrameOptionsMiddleware(PagesOnly, clickjacking.XFrameOptionsMiddleware):
    """Pages in a foreign frame."""
