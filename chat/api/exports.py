"""Exporting all data of a user over the API, as a stream of lines.

The stream can end early: the network fails, the server stops, or the store fails after the
response has started. HTTP does not always show this. Granian, for one, ends a chunked response
properly even if the application fails. So the last line states that the export is complete, and
with it a client can check the other lines.
"""

import hashlib
import logging
from collections.abc import Iterator
from itertools import chain
from typing import Any

from django.db import close_old_connections
from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from rest_framework.request import Request
from rest_framework.views import APIView

from chat.api import operations, parameters
from chat.api.authentication import caller_of
from chat.api.operations import EXPORT_TYPE
from chat.api.views import StoreView, call_of
from chat.maintenance.export.exporting import pages_of
from storage import get_storage
from storage.exceptions import StorageError
from storage.models import ChatInteraction
from storage.records.json import dumps, to_json

logger = logging.getLogger(__name__)

CHUNK_BYTES = 64 * 1024
"""The approximate size of a chunk. A longer line is a chunk of its own."""


class ExportView(StoreView):
    """Everything that is stored about a user."""

    @operations.export_user
    def get(self, request: Request, user_id: str) -> HttpResponseBase:
        caller_of(request).require_erasure()
        parameters.refuse_parameters(call_of(request))
        if request.method == "HEAD":
            return HttpResponse(content_type=EXPORT_TYPE)
        pages = pages_of(get_storage(), user_id)
        # A failure here is still a problem response, because the stream has not started.
        first = next(pages, [])
        return StreamingHttpResponse(lines(chain([first], pages)), content_type=EXPORT_TYPE)

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        """Leave out Content-Length of a success: the length of a stream is not known."""
        if response.status_code == 200:
            for name, value in self.limit_headers.items():
                response[name] = value
            return APIView.finalize_response(self, request, response, *args, **kwargs)
        return super().finalize_response(request, response, *args, **kwargs)


def lines(pages: Iterator[list[ChatInteraction]]) -> Iterator[bytes]:
    """The body of an export, in chunks of whole lines. Without the last one if the store fails."""
    count = 0
    digest = hashlib.sha256()
    try:
        for page in pages:
            # No database connection is held while a slow client reads.
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
    chunk: list[bytes] = []
    size = 0
    for interaction in page:
        line = to_json(interaction) + b"\n"
        chunk.append(line)
        size += len(line)
        if size >= CHUNK_BYTES:
            yield b"".join(chunk)
            chunk, size = [], 0
    if chunk:
        yield b"".join(chunk)
