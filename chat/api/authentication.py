"""Who makes a request, and what they may do.

A chat service sends an API key, which is service-wide or bound to one user. Staff who are
logged in to the admin may read what the admin shows them.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed, PermissionDenied
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

from chat.api.metrics import KEYS_REFUSED
from chat.api.rate_limits import count_stranger, excuse_stranger
from chat.current import note_caller
from storage.accounts import api_keys, key_use
from storage.exceptions import StorageError
from storage.models import ApiKey

if TYPE_CHECKING:
    from rest_framework.views import APIView

NO_KEY = "Send the header 'Authorization: Api-Key <your key>'."


@dataclass(frozen=True)
class Caller:
    """An authenticated client of the API. `user_id` is None if it may access all users."""

    identity: str
    user_id: str | None
    may_write: bool
    may_erase: bool = False
    """Whether it may erase and export users."""
    is_authenticated: bool = True
    key_prefix: str = ""
    """The public part of its API key; empty without one."""
    staff: str = ""
    """The name of the account whose session it is; empty if it has an API key."""
    may_read_texts: bool = True
    may_read_usage: bool = True

    def require(self, user_id: str) -> None:
        """Raise PermissionDenied (403) unless this caller may access this user."""
        if self.user_id not in (None, user_id):
            raise self._refused("This API key is bound to another user.")

    def require_erasure(self) -> None:
        """Raise PermissionDenied (403) unless this caller may erase and export users."""
        if not self.may_erase:
            raise self._refused(
                "Erasing and exporting users needs a service-wide API key with that permission."
            )

    def require_every_user(self) -> None:
        """Raise PermissionDenied (403) if this caller is bound to one user."""
        if self.user_id is not None:
            raise self._refused(
                "This API key is bound to one user; everyone's interactions need a "
                "service-wide key."
            )

    def require_usage(self) -> None:
        """Raise PermissionDenied (403) if this account may not see usage in the admin either."""
        if not self.may_read_usage:
            raise self._refused("Your account lacks the permission to view usage.")

    def _refused(self, why: str) -> PermissionDenied:
        if self.key_prefix:
            KEYS_REFUSED.labels("forbidden").inc()
            key_use.USES.refused(self.key_prefix)
        return PermissionDenied(why)


def key_of(authorization: str, environ: Mapping[str, Any]) -> ApiKey:
    """Returns the API key in a header. `environ` tells where the request comes from.

    A wrong key counts for that address, and one that has had too many is not looked up. Raises
    AuthenticationFailed (401), QuotaExceeded (429) and StorageError.
    """
    counted = False

    def count() -> None:
        nonlocal counted
        count_stranger(environ)
        counted = True

    scheme, _, key = authorization.partition(" ")
    if scheme.lower() != "api-key" or not key.strip():
        count()
        KEYS_REFUSED.labels("missing").inc()
        raise AuthenticationFailed(NO_KEY)
    try:
        found = api_keys.find(key.strip(), count)
    except StorageError:  # it may well be a valid one
        if counted:
            excuse_stranger(environ)
        raise
    if found is None:
        KEYS_REFUSED.labels("unknown").inc()
        raise AuthenticationFailed("This API key is unknown, revoked or expired.")
    if counted:
        excuse_stranger(environ)
    return found


def caller_with_key(authorization: str, environ: Mapping[str, Any]) -> Caller:
    """The caller who shows the API key in a header. Raises as `key_of` does."""
    found = key_of(authorization, environ)
    note_caller(found.prefix)
    return _caller(found.prefix, found.user_id or None, found.may_erase and not found.user_id)


@functools.lru_cache(maxsize=256)
def _caller(prefix: str, user_id: str | None, may_erase: bool) -> Caller:
    """To make one takes as long as to find its key."""
    return Caller(f"key:{prefix}", user_id, True, may_erase, key_prefix=prefix)


class ApiKeyAuthentication(BaseAuthentication):
    """`Authorization: Api-Key <key>`."""

    keyword = "Api-Key"

    def authenticate(self, request: Request) -> tuple[Caller, None] | None:
        environ = request._request.META
        header = environ.get("HTTP_AUTHORIZATION")
        if header is None:
            return None
        return caller_with_key(header, environ), None

    def authenticate_header(self, request: Request) -> str:
        return self.keyword


class StaffSessionAuthentication(BaseAuthentication):
    """A session of the admin. It may only read, so no CSRF check is needed."""

    def authenticate(self, request: Request) -> tuple[Caller, None] | None:
        user = request._request.user
        if not (user.is_active and user.is_staff):
            return None
        if not user.has_perm("storage.view_chatinteraction"):
            raise PermissionDenied("Your account lacks the permission to view interactions.")
        caller = Caller(
            f"staff:{user.pk}",
            None,
            may_write=False,
            staff=user.get_username(),
            may_read_texts=user.has_perm("storage.read_texts"),
            may_read_usage=user.has_perm("storage.view_usageofmodel"),
        )
        return caller, None


class ReadOrWritePermission(BasePermission):
    """Every authenticated caller may read; only API keys may write."""

    message = "Staff sessions may read only; writing needs an API key."

    def has_permission(self, request: Request, view: "APIView") -> bool:
        caller = caller_of(request)
        return caller is not None and (caller.may_write or request.method in SAFE_METHODS)


def caller_of(request: Request) -> Caller:
    """The caller of this request, which DRF has authenticated."""
    return cast(Caller, request.user)
