"""How tools show an API key that cannot send `Authorization: Api-Key <key>`."""

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from rest_framework.request import Request

from chat.api.authentication import ApiKeyAuthentication, Caller, caller_with_key


class PasswordAuthentication(ApiKeyAuthentication):
    """HTTP Basic with the API key as the password and any user name; or `Api-Key <key>`."""

    def authenticate(self, request: Request) -> tuple[Caller, None] | None:
        environ: Mapping[str, Any] = request._request.META
        scheme, _, credentials = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
        if scheme.lower() != "basic":
            return super().authenticate(request)
        return caller_with_key(f"{self.keyword} {_password(credentials)}", environ), None


def _password(credentials: str) -> str:
    """The password (RFC 7617, section 2); empty, which is no key, if there is none."""
    try:
        return base64.b64decode(credentials, validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        return ""
