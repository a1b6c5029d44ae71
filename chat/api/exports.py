"""The export of a person over the API: a stream of lines.

A stream may be cut: by the network, by a server that stops, or by the store, when it fails after
the answer has begun. HTTP does not always tell: a server that ends the chunks of an answer whose
application has failed, as granian does, makes it look whole. So the last line says that there are
no more, and how to check the others.
"""

import hashlib
import logging
from collections.abc import Iterator
from itertools import chain
from typing import Any

from django.db import close_old_connections
from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.request import Request
from rest_framework.views import APIView

from chat.api import parameters, schema
from chat.api.authentication import caller_of
from chat.api.views import StoreView
from chat.maintenance.export.exporting import pages_of
from storage import get_storage
from storage.exceptions import StorageError
from storage.models import ChatInteraction
from storage.records.json import dumps, to_json

logger = logging.getLogger(__name__)

CONTENT_TYPE = "application/x-ndjson"

CHUNK_BYTES = 64 * 1024
"""Lines sent at once, about; a longer line is sent alone."""

export_user = extend_schema(
    operation_id="export_user",
    tags=["users"],
    auth=schema._API_KEY_ONLY,
    summary="Everything that is kept of a user",
    description="For service-wide API keys that may erase and export users. One interaction a "
    "line, newest first, hot and archived ones; for a user of whom nothing is kept, none. The last "
    'line is `{"complete": true, "count": ..., "sha256": "..."}`: the number of lines before it, '
    "and the SHA-256 of their bytes, line ends included. **An answer without this line was cut:** "
    "ask again.",
    parameters=[OpenApiParameter("user_id", str, "path", description="The user.")],
    responses={
        (200, CONTENT_TYPE): OpenApiResponse({"type": "string"}, "Lines of JSON."),
        **schema._answers((*schema._READING, 404)),
    },
)


class ExportView(StoreView):
    """Everything that is kept of a user."""

    @export_user
    def get(self, request: Request, user_id: str) -> HttpResponseBase:
        caller_of(request).require_erasure()
        parameters.refuse_parameters(request._request)
        if request.method == "HEAD":
            return HttpResponse(content_type=CONTENT_TYPE)
        pages = pages_of(get_storage(), user_id)
        # What fails at once is answered as a problem, while there is no answer yet.
        first = next(pages, [])
        return StreamingHttpResponse(lines(chain([first], pages)), content_type=CONTENT_TYPE)

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        """Without a length, if it is not known."""
        if response.status_code == 200:
            return APIView.finalize_response(self, request, response, *args, **kwargs)
        return super().finalize_response(request, response, *args, **kwargs)


def lines(pages: Iterator[list[ChatInteraction]]) -> Iterator[bytes]:
    """The body of an export in chunks of whole lines. If the store fails, there is no last line."""
    count = 0
    digest = hashlib.sha256()
    try:
        for page in pages:
            # A client that reads slowly holds no connection to the database meanwhile.
            close_old_connections()
            count += len(page)
            for chunk in _chunks(page):
                digest.update(chunk)
                yield chunk
    except StorageError as error:
        logger.error("An export was cut short: the store is unavailable: %s", error)
        raise
    end = {"complete": True, "count": count, "sha256": digest.hexdigest()}
    yield dumps(end) + b"\n"


def _chunks(page: list[ChatInteraction]) -> Iterator[bytes]:
    some: list[bytes] = []
    size = 0
    for interaction in page:
        line = to_json(interaction) + b"\n"
        some.append(line)
        size += len(line)
        if size >= CHUNK_BYTES:
            yield b"".join(some)
            some, size = [], 0
    if some:
        yield b"".join(some)
