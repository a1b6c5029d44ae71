"""The errors of the API, as problem details (RFC 9457, `application/problem+json`)."""

import logging
import sys
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

import orjson
from django.core.exceptions import PermissionDenied, RequestDataTooBig, TooManyFieldsSent
from django.db import DatabaseError, DataError
from django.http import Http404, HttpRequest, HttpResponse
from django.views import defaults
from rest_framework import exceptions as drf
from rest_framework.views import set_rollback

from chat.api.authentication import NO_KEY
from chat.api.metrics import KEYS_REFUSED
from chat.api.mistakes import Mistakes
from chat.api.rate_limits import QuotaExceeded
from chat.api.strays import stray_exporter
from chat.current import current_request
from chat.maintenance.identity import ArchiveMismatch
from storage import exceptions as storage
from storage.exceptions import StorageError
from storage.sql.errors import translate

logger = logging.getLogger(__name__)

CONTENT_TYPE = "application/problem+json"

NOTHING_HERE = "There is nothing at this address; every address of the API ends with a slash."

ErrorHandler = Callable[[HttpRequest, Exception], HttpResponse]


def _slug(title: str) -> str:
    return title.lower().replace(" ", "-")


class Problem(drf.APIException):
    """An error of the API. A subclass states its status and title."""

    title: str
    slug: str
    """The last part of the problem's type; made from the title unless a subclass states it."""

    def __init_subclass__(cls, status: int, title: str, slug: str = "") -> None:
        cls.status_code = status
        cls.title = title
        cls.slug = slug or _slug(title)

    def __init__(
        self,
        detail: str,
        mistakes: Mistakes | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(detail)
        self.mistakes = mistakes
        self.retry_after = retry_after


class InvalidRequest(Problem, status=400, title="Invalid request"):
    """The request cannot be read, or breaks a rule; `mistakes` locates each one."""


class NotFound(Problem, status=404, title="Not found"):
    """There is no such thing, or it belongs to another user: both get the same answer."""


class AnswerLookupOff(Problem, status=404, title="Answer lookup off"):
    """The service does not look answers up. A client then goes on as if none were found."""


class Conflict(Problem, status=409, title="Conflict"):
    """Something that is there already, such as the same id with other content, forbids it."""


class Gone(Problem, status=410, title="Gone"):
    """The interaction made by the first request with this idempotency key was deleted."""


class LengthRequired(Problem, status=411, title="Length required"):
    """The body is sent in chunks, so its size is not known in advance."""


class TooLarge(Problem, status=413, title="Content too large"):
    """The body is larger than the call allows."""


class UnsupportedMediaType(Problem, status=415, title="Unsupported media type"):
    """The body is not JSON."""


class IdempotencyKeyReused(Problem, status=422, title="Idempotency key reused"):
    """The idempotency key was used before, with another request."""


class TooManyCalls(Problem, status=429, title="Quota exceeded"):
    """The client has called too often. The request can be repeated after `Retry-After`."""


class ServerError(Problem, status=500, title="Server error"):
    """A bug. The response does not describe it; the log does."""


class Unavailable(Problem, status=503, title="Temporarily unavailable", slug="unavailable"):
    """The store did not answer. The request can be repeated after `Retry-After`."""


class StorageFull(Problem, status=507, title="Insufficient storage"):
    """No space is left in the store; nothing was written."""


def exception_handler(error: Exception, context: Mapping[str, Any]) -> HttpResponse | None:
    """The response to an error, for DRF. None if Django is to report it as a 500."""
    problem = _from_storage(error) or _from_framework(error)
    if problem is None:
        return None
    set_rollback()
    if isinstance(problem, Problem):
        response = _response_to(problem)
        if isinstance(error, QuotaExceeded):
            for name, value in error.headers.items():
                response[name] = value
        return response
    title = HTTPStatus(problem.status_code).phrase
    slug = str(problem.default_code).replace("_", "-")
    response = problem_response(problem.status_code, title, str(problem.detail), slug)
    if header := getattr(problem, "auth_header", None):
        response["WWW-Authenticate"] = header
    return response


def _response_to(problem: Problem) -> HttpResponse:
    """The response to a problem of the API."""
    status, title, slug = problem.status_code, problem.title, problem.slug
    response = problem_response(status, title, str(problem.detail), slug, problem.mistakes)
    if problem.retry_after is not None:
        response["Retry-After"] = str(problem.retry_after)
    return response


def problem_response(
    status: int,
    title: str,
    detail: str,
    slug: str = "",
    mistakes: Mistakes | None = None,
) -> HttpResponse:
    """A problem details response.

    `request_id` is that of the log's lines. `errors` locates mistakes by JSON Pointer or name.
    """
    body: dict[str, Any] = {
        "type": f"urn:problem-type:{slug or _slug(title)}",
        "title": title,
        "status": status,
        "detail": detail,
    }
    if (request := current_request()) is not None:
        body["request_id"] = request.request_id
    if mistakes is not None:
        body |= {"errors": mistakes.first, "error_count": mistakes.count}
    return HttpResponse(orjson.dumps(body), content_type=CONTENT_TYPE, status=status)


def _from_storage(error: Exception) -> Problem | None:
    mistakes = Mistakes()
    match error:
        case storage.InvalidInteractions():
            for index, violations in error.by_index.items():
                mistakes.add_fields(violations, "interactions", index)
            return InvalidRequest("Some interactions are invalid; nothing was written.", mistakes)
        case storage.InvalidInteraction():
            mistakes.add_fields(error.violations)
            return InvalidRequest("A field is invalid.", mistakes)
        case storage.InvalidCursor():
            mistakes.add_parameter("cursor", str(error))
            return InvalidRequest("A query parameter is invalid.", mistakes)
        case storage.InvalidSearch():
            for name, text in error.violations.items():
                mistakes.add_parameter("q" if name == "text" else name, text)
            return InvalidRequest("A query parameter is invalid; see errors.", mistakes)
        case storage.AnswerLookupOff():
            return AnswerLookupOff(str(error))
        case storage.InteractionConflict():
            return Conflict(str(error))
        case storage.IdempotencyKeyReused():
            return IdempotencyKeyReused(f"{error} Use a new key for a new request.")
        case storage.IdempotentInteractionGone():
            return Gone(str(error))
        case storage.StorageFull():
            logger.error("The store is full.")
            detail = "No space is left; nothing was written."
            return StorageFull(detail, retry_after=error.retry_after)
        case storage.BatchUnfinished():
            logger.error("The store left a batch unfinished: %s", error.__cause__ or error)
            return Unavailable(str(error), retry_after=error.retry_after)
        case ArchiveMismatch():
            logger.error("The archive is missing: %s", error)
            return Unavailable("The archive is not there; nothing was done.", retry_after=60)
        case storage.StorageUnavailable():
            logger.error("The store is unavailable: %s", error)
            return Unavailable("The store did not answer in time.", retry_after=error.retry_after)
    return None


def _from_framework(error: Exception) -> drf.APIException | None:
    match error:
        case drf.NotAuthenticated() if getattr(error, "auth_header", None) == "Api-Key":
            KEYS_REFUSED.labels("missing").inc()
            error.detail = drf.ErrorDetail(NO_KEY, error.default_code)
            return error
        case drf.APIException():
            return error
        case Http404():
            return NotFound("There is nothing at this address.")
        case PermissionDenied():
            return drf.PermissionDenied()
        case TooManyFieldsSent():
            return InvalidRequest("There are too many query parameters.")
        case QuotaExceeded():
            return TooManyCalls(str(error), retry_after=error.seconds)
        case RequestDataTooBig():
            return TooLarge("The body is too large.")
    return None


def _handler(page: ErrorHandler, status: int, title: str, detail: str) -> ErrorHandler:
    """An error handler for Django: a problem in the API, Django's own page elsewhere."""

    def handler(request: HttpRequest, exception: Exception) -> HttpResponse:
        if _is_api(request):
            return problem_response(status, title, detail)
        return page(request, exception)

    return handler


# Named in `config.urls`. 400 is what Django itself refuses, such as a wrong Host.
bad_request = _handler(defaults.bad_request, 400, "Bad request", "The request cannot be read.")
permission_denied = _handler(defaults.permission_denied, 403, "Permission denied", "Not allowed.")


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's handler404."""
    if not _is_api(request):
        return defaults.page_not_found(request, exception)
    detail = stray_exporter(request.path) if request.method == "POST" else None
    return problem_response(404, "Not found", detail or NOTHING_HERE)


def server_error(request: HttpRequest) -> HttpResponse:
    """Django's handler500: a bug, or a database error outside the Storage interface.

    The response does not describe a bug; the log does. A value that the SQL database cannot have is
    a mistake of the client: PostgreSQL knows no NUL, which the query of a page may contain.
    """
    error = sys.exception()
    if isinstance(error, DataError):
        return bad_request(request, error)
    if isinstance(error, DatabaseError):
        return _database_failed(request, translate(error))
    if not _is_api(request):
        return defaults.server_error(request)
    return problem_response(500, "Server error", "The server made a mistake.")


def problem_of_quota(request: HttpRequest, error: QuotaExceeded) -> HttpResponse:
    """The response to a request that was refused before its view was called."""
    response = exception_handler(error, {})
    assert response is not None
    if not _is_api(request):
        response.headers["Content-Type"] = "text/plain; charset=utf-8"
        response.content = f"Too many requests. Try again in {error.seconds} seconds."
    response["Content-Length"] = str(len(response.content))
    return response


def _database_failed(request: HttpRequest, error: StorageError) -> HttpResponse:
    response = exception_handler(error, {})
    assert response is not None
    if not _is_api(request):
        response.headers["Content-Type"] = "text/plain; charset=utf-8"
        response.content = f"{error} Try again later."
    return response


def _is_api(request: HttpRequest) -> bool:
    return request.path.startswith("/api/")
