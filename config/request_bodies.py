"""Bodies are refused before they are read: where none is expected, and where one is too large.

Django's CSRF check reads the form in a POST to any page. So this is decided before Django is asked.
"""

from collections.abc import Mapping
from io import BytesIO
from typing import Any

from chat.api.addresses import address_of
from chat.api.problems import (
    InvalidRequest,
    LengthRequired,
    NotFound,
    Problem,
    TooLarge,
    UnsupportedMediaType,
)
from chat.api.strays import stray_exporter
from chat.current import note_read
from config.admission import INGEST, Admission, ApiBody, too_many_senders
from config.middleware import CALLS

FORM_LIMIT = 256 * 1024
"""Bytes in a form of the admin."""

METHODS = ("GET", "HEAD", "POST", "PATCH", "DELETE")
"""Methods that some address of this project has."""

FORM_TYPE = "application/x-www-form-urlencoded"
"""What every form of the admin is. None has files, which would make it multipart."""

UTF_8 = ("", "charset=utf-8", 'charset="utf-8"')
"""The parameters that a form may have. Others would have to be parsed: see `entrance.Request`."""


def media_type(environ: Mapping[str, Any]) -> str:
    """The media type of the body, without parameters; empty if the client names none."""
    given: str = environ.get("CONTENT_TYPE", "")
    return given.partition(";")[0].strip().lower()


def has_body(environ: dict[str, Any]) -> bool:
    """Whether the client announces a body that is not empty."""
    return environ.get("CONTENT_LENGTH", "0") != "0" or "HTTP_TRANSFER_ENCODING" in environ


def admit(environ: dict[str, Any], admission: Admission) -> Problem | None:
    """Prepare `environ` for a request with a body. Returns why it is refused, or None.

    The body of a form is read here, as every middleware may ask for it. That of an API call is
    read by its view, which first wants to know the caller.
    """
    method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
    if method not in METHODS or (method != "POST" and path.startswith(INGEST)):
        # answered with 405, unread
        environ |= {"wsgi.input": BytesIO(), "CONTENT_LENGTH": "0"}
        return None
    if path.startswith(CALLS) and method in ("POST", "PATCH"):
        places = admission.places_to_work(environ)
        environ["wsgi.input"] = ApiBody(environ["wsgi.input"], admission, places)
        return None
    if not (path.startswith("/admin/") and method == "POST"):
        return _unexpected(path)
    if problem := _form_problem(environ):
        return problem
    address = address_of(environ)
    if not admission.enter_form(address):
        return too_many_senders()
    length = int(environ["CONTENT_LENGTH"])
    try:
        with admission.waiting():
            body = environ["wsgi.input"].read(length)
    finally:
        admission.leave_form(address)
    note_read(len(body))
    if len(body) < length:  # it would be another form
        return InvalidRequest("The body ended too soon.")
    environ["wsgi.input"] = BytesIO(body)
    return None


def _unexpected(path: str) -> Problem:
    if advice := stray_exporter(path):
        return NotFound(advice)
    return TooLarge("A body is not expected here. Send the request without one.")


def _form_problem(environ: dict[str, Any]) -> Problem | None:
    if media_type(environ) != FORM_TYPE:
        return UnsupportedMediaType(f"Send a form: {FORM_TYPE}.")
    if environ["CONTENT_TYPE"].partition(";")[2].strip().lower() not in UTF_8:
        return UnsupportedMediaType("Send the form in UTF-8.")
    if "HTTP_TRANSFER_ENCODING" in environ:
        return LengthRequired("Send the form in one piece, with the header 'Content-Length'.")
    if int(environ["CONTENT_LENGTH"]) > FORM_LIMIT:
        return TooLarge(f"A form must be at most {FORM_LIMIT} bytes.")
    return None
