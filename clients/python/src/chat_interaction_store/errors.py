"""The errors of the store. None has the text of a message."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx


class StoreError(Exception):
    """The store did not do what it was asked for."""


class StoreUnavailable(StoreError):
    """The store did not answer, or asked to try again later, as often as it was tried. An answer of
    a proxy or another server is none.

    Repeating the call is safe. `status` is None if no answer came; `retry_after` is in seconds.
    """

    def __init__(
        self, detail: str, status: int | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.retry_after = retry_after


@dataclass(frozen=True)
class Mistake:
    """One thing that is wrong with a request, and where: a JSON Pointer or a parameter's name."""

    detail: str
    place: str

    def __str__(self) -> str:
        return f"{self.place}: {self.detail}" if self.place else self.detail


class Refused(StoreError):
    """The store refused a request, and repeating it would not help.

    `detail` is what the store said, and `mistakes` has at most 100 of what is wrong.
    """

    def __init__(
        self, status: int, title: str, detail: str, mistakes: tuple[Mistake, ...] = ()
    ) -> None:
        words = [f"{status} {title}: {detail}", *map(str, mistakes[:3])]
        if len(mistakes) > 3:
            words.append(f"and {len(mistakes) - 3} more.")
        super().__init__(" ".join(words))
        self.status = status
        self.title = title
        self.detail = detail
        self.mistakes = mistakes


class InvalidRequest(Refused):
    """A value is outside its limits; see `mistakes`."""


class NotAuthenticated(Refused):
    """The API key is missing, unknown, revoked or expired."""


class NotAllowed(Refused):
    """The API key may not do this, such as write for another user."""


class NotFound(Refused):
    """There is no such interaction, or it is another user's."""


class Conflict(Refused):
    """There is an interaction with this id and other content, or it is archived."""


_CLASSES: dict[int, type[Refused]] = {
    400: InvalidRequest,
    401: NotAuthenticated,
    403: NotAllowed,
    404: NotFound,
    409: Conflict,
    413: InvalidRequest,
    422: InvalidRequest,
}


def refusal(response: httpx.Response) -> StoreError:
    """Returns the error for an answer that is no success."""
    status = response.status_code
    if not response.headers.get("Content-Type", "").startswith("application/problem+json"):
        return _of_a_proxy(response)
    problem = _decoded(response)
    mistakes = tuple(_mistake(error) for error in problem.get("errors", ()))
    title, detail = str(problem.get("title", "")), str(problem.get("detail", ""))
    return _CLASSES.get(status, Refused)(status, title, detail, mistakes)


def _of_a_proxy(response: httpx.Response) -> StoreError:
    if response.status_code == 413:
        return InvalidRequest(413, "Content too large", "A proxy before the store takes less.")
    if response.status_code == 403:  # as firewalls do that look for SQL or HTML in a body
        return InvalidRequest(403, "Forbidden", "A proxy before the store does not let it through.")
    error = not_the_store(response)
    return StoreError(str(error)) if response.status_code == 400 else error


def not_the_store(response: httpx.Response) -> StoreUnavailable:
    """Returns the error for an answer that is not the store's: the URL is wrong, or a proxy before
    the store does not reach it now.
    """
    status = response.status_code
    if location := _location(response):
        words = f"{status}: redirected to {location}; use that URL."
    else:
        words = (
            f"{status} with an answer that is not the store's: "
            "is this the URL of a chat interaction store?"
        )
    return StoreUnavailable(words, status)


def _location(response: httpx.Response) -> str:
    try:
        location = httpx.URL(response.headers.get("Location", ""))
    except httpx.InvalidURL:
        return ""
    return str(location.copy_with(query=None, fragment=None))


def _decoded(response: httpx.Response) -> dict[str, Any]:
    try:
        problem = json.loads(response.content)
    except ValueError:
        return {}
    return problem if isinstance(problem, dict) else {}


def _mistake(error: Mapping[str, Any]) -> Mistake:
    place = error.get("pointer") or error.get("parameter") or ""
    return Mistake(str(error.get("detail", "")), str(place))
