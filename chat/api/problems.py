"""Every error of the API as problem details (RFC 9457, `application/problem+json`)."""

import logging
import sys
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import orjson
from django.core.exceptions import PermissionDenied, RequestDataTooBig
from django.db import DatabaseError
from django.http import Http404, HttpRequest, HttpResponse
from django.views import defaults
from rest_framework import exceptions as drf
from rest_framework.views import set_rollback

from storage import exceptions as storage
from storage.exceptions import StorageError
from storage.sql_errors import translate

logger = logging.getLogger(__name__)

CONTENT_TYPE = "application/problem+json"


class Problem(drf.APIException):
    """An error of the API. Subclasses fix the status, the type and the title."""

    status_code = 400
    slug = "bad-request"
    title = "Bad request"

    def __init__(
        self,
        detail: str,
        errors: list[dict[str, Any]] | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(detail)
        self.errors = errors
        self.retry_after = retry_after


class InvalidRequest(Problem):
    """The request cannot be read, or breaks a rule that `errors` points at."""

    slug = "invalid-request"
    title = "Invalid request"


class NotFound(Problem):
    """Unknown, or not the caller's: the two are not told apart."""

    status_code = 404
    slug = "not-found"
    title = "Not found"


class Conflict(Problem):
    """The id is taken by other content."""

    status_code = 409
    slug = "conflict"
    title = "Conflict"


class Gone(Problem):
    """What the first request with this idempotency key made was deleted."""

    status_code = 410
    slug = "gone"
    title = "Gone"


class LengthRequired(Problem):
    """The body comes in chunks, so its size is not known beforehand."""

    status_code = 411
    slug = "length-required"
    title = "Length required"


class TooLarge(Problem):
    """The body is over the limit of the call."""

    status_code = 413
    slug = "content-too-large"
    title = "Content too large"


class UnsupportedMediaType(Problem):
    """The body is not JSON."""

    status_code = 415
    slug = "unsupported-media-type"
    title = "Unsupported media type"


class IdempotencyKeyReused(Problem):
    """The idempotency key came with another request before."""

    status_code = 422
    slug = "idempotency-key-reused"
    title = "Idempotency key reused"


class Unavailable(Problem):
    """The store did not answer; the same request makes sense again after `Retry-After`."""

    status_code = 503
    slug = "unavailable"
    title = "Temporarily unavailable"


class StorageFull(Problem):
    """No space is left in the store; nothing was written."""

    status_code = 507
    slug = "insufficient-storage"
    title = "Insufficient storage"


def exception_handler(error: Exception, context: Mapping[str, Any]) -> HttpResponse | None:
    """DRF's hook: the response for an error, or None to let Django report it as a 500."""
    problem = _from_storage(error) or _from_framework(error)
    if problem is None:
        return None
    set_rollback()
    if isinstance(problem, Problem):
        return problem_response(
            problem.status_code,
            problem.slug,
            problem.title,
            str(problem.detail),
            errors=problem.errors,
            retry_after=problem.retry_after,
        )
    title = HTTPStatus(problem.status_code).phrase
    slug = str(problem.default_code).replace("_", "-")
    response = problem_response(problem.status_code, slug, title, str(problem.detail))
    if header := getattr(problem, "auth_header", None):
        response["WWW-Authenticate"] = header
    return response


def problem_response(
    status: int,
    slug: str,
    title: str,
    detail: str,
    *,
    errors: list[dict[str, Any]] | None = None,
    retry_after: int | None = None,
) -> HttpResponse:
    """A problem details response. `errors` locates each mistake by JSON Pointer or parameter."""
    body: dict[str, Any] = {
        "type": f"urn:problem-type:{slug}",
        "title": title,
        "status": status,
        "detail": detail,
    }
    if errors:
        body["errors"] = errors
    response = HttpResponse(orjson.dumps(body), content_type=CONTENT_TYPE, status=status)
    if retry_after is not None:
        response["Retry-After"] = str(retry_after)
    return response


def field_errors(violations: Mapping[str, str], prefix: str = "#") -> list[dict[str, Any]]:
    """Violations by field name as the `errors` of a problem."""
    return [
        {"pointer": f"{prefix}/{name}", "detail": f"{name} {text}" if _continues(text) else text}
        for name, text in violations.items()
    ]


def _continues(text: str) -> bool:
    return text.startswith(("must ", "cannot "))


def _from_storage(error: Exception) -> Problem | None:
    match error:
        case storage.InvalidInteractions():
            return InvalidRequest(
                "Some interactions are invalid; nothing was written.",
                [
                    found
                    for index, violations in error.by_index.items()
                    for found in field_errors(violations, f"#/interactions/{index}")
                ],
            )
        case storage.InvalidInteraction():
            return InvalidRequest("A field is invalid.", field_errors(error.violations))
        case storage.InvalidCursor():
            return InvalidRequest(
                "A query parameter is invalid.", [{"parameter": "cursor", "detail": str(error)}]
            )
        case storage.InteractionConflict():
            return Conflict(str(error))
        case storage.IdempotencyKeyReused():
            return IdempotencyKeyReused(f"{error} Use a new key for a new request.")
        case storage.IdempotentInteractionGone():
            return Gone(str(error))
        case storage.StorageFull():
            logger.error("The store is full.")
            return StorageFull(
                "No space is left; nothing was written.", retry_after=error.retry_after
            )
        case storage.BatchUnfinished():
            logger.error("The store left a batch unfinished: %s", error.__cause__ or error)
            return Unavailable(str(error), retry_after=error.retry_after)
        case storage.StorageUnavailable():
            logger.error("The store is unavailable: %s", error)
            return Unavailable("The store did not answer in time.", retry_after=error.retry_after)
    return None


def _from_framework(error: Exception) -> drf.APIException | None:
    match error:
        case drf.APIException():
            return error
        case Http404():
            return NotFound("There is nothing at this address.")
        case PermissionDenied():
            return drf.PermissionDenied()
        case RequestDataTooBig():
            return TooLarge("The body is too large.")
    return None


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's handler400: a request that Django itself refuses, such as a wrong Host."""
    if not _is_api(request):
        return defaults.bad_request(request, exception)
    return problem_response(400, "bad-request", "Bad request", "The request cannot be read.")


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's handler403."""
    if not _is_api(request):
        return defaults.permission_denied(request, exception)
    return problem_response(403, "permission-denied", "Permission denied", "Not allowed.")


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's handler404: an address outside the URL configuration."""
    if not _is_api(request):
        return defaults.page_not_found(request, exception)
    detail = "There is nothing at this address; every address of the API ends with a slash."
    return problem_response(404, "not-found", "Not found", detail)


def server_error(request: HttpRequest) -> HttpResponse:
    """Django's handler500: a defect, or a database that fails outside the Storage interface.

    It says nothing of a defect; the log does.
    """
    error = sys.exception()
    if isinstance(error, DatabaseError):
        return _database_failed(request, translate(error))
    if not _is_api(request):
        return defaults.server_error(request)
    return problem_response(500, "server-error", "Server error", "The server made a mistake.")


def _database_failed(request: HttpRequest, error: StorageError) -> HttpResponse:
    response = exception_handler(error, {})
    assert response is not None
    if not _is_api(request):
        response.headers["Content-Type"] = "text/plain; charset=utf-8"
        response.content = f"{error} Try again later."
    return response


def _is_api(request: HttpRequest) -> bool:
    return request.path.startswith("/api/")
