"""What requests about a user have in common: who may make them, and whom they are about."""

import logging
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from chat.admin.pages import page, unavailable
from chat.maintenance.erasure.attempt import UserHeld
from chat.maintenance.identity import ArchiveMismatch
from chat.maintenance.runs import LockHeld
from storage import limits
from storage.exceptions import StorageError

logger = logging.getLogger(__name__)

VIEW = "storage.view_chatinteraction"

View = Callable[..., HttpResponseBase]


def guarded(permission: str) -> Callable[[View], View]:
    """A view for staff with this permission. What stands in the way is said on a page."""

    def decorate(view: View) -> View:
        @wraps(view)
        def guarded_view(request: HttpRequest, **arguments: Any) -> HttpResponseBase:
            if not request.user.has_perm(permission):
                raise PermissionDenied
            try:
                return view(request, **arguments)
            except (UserHeld, LockHeld) as error:
                return refused(request, str(error), 409)
            except ArchiveMismatch as error:
                logger.error("The archive is missing: %s", error)
                return refused(request, str(error), 503)
            except StorageError as error:
                return unavailable(request, error)

        return guarded_view

    return decorate


def user_of(request: HttpRequest) -> str | None:
    """The user that a request names once, as `user_id`; or None."""
    given = request.GET.getlist("user_id")
    is_alone = set(request.GET) == {"user_id"} and len(given) == 1
    return given[0] if is_alone and not limits.identifier_violation(given[0]) else None


def wrong_user(request: HttpRequest) -> HttpResponse:
    """The page for a request that names no user, or none that can exist; it asks for one."""
    given = request.GET.get("user_id", "")
    problem = limits.identifier_violation(given) if given else None
    if problem:
        problem = f"The user id {problem}"
    elif set(request.GET) - {"user_id"}:
        problem = "The only parameter of this page is user_id."
    return page(
        request, "user/which.html", "Which user?", status=400, problem=problem, given=given[:255]
    )


def refused(request: HttpRequest, reason: str, status: int) -> HttpResponse:
    """The page that says why something was not done."""
    return page(request, "user/refused.html", "Not done", status=status, reason=reason)
