"""The answers of OTLP, in the media type of the request.

https://opentelemetry.io/docs/specs/otlp/#otlphttp-response
"""

from collections.abc import Sequence

import orjson
from django.http import HttpResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceResponse,
)

from chat.ingest.calls import LeftOut
from chat.ingest.keeping import Taken
from chat.ingest.reasons import NOTHING_LOST

PROTOBUF = "application/x-protobuf"
JSON = "application/json"

DETAILS_MAX = 5
"""Details that an answer has for each reason."""

PLACE_MAX = 64
"""Characters of a place in an answer. A client can call a span whatever it likes, at any length."""

CODES = {400: 3, 401: 16, 403: 7, 413: 8, 503: 14}
"""Codes of `google.rpc.Status` (google/rpc/code.proto)."""


def success(media_type: str, taken: Taken, rejected: str) -> HttpResponse:
    """The answer to what could be read. `rejected` is the field for the number left out."""
    lost = [one for one in taken.left_out if one.reason not in NOTHING_LOST]
    text = _explanation(lost)
    if media_type == JSON:
        partial = {rejected: str(len(lost)), "errorMessage": text}
        return _response(JSON, orjson.dumps({"partialSuccess": partial} if lost else {}))
    answer = ExportTraceServiceResponse()  # the same in bytes as that for log records
    if lost:
        answer.partial_success.rejected_spans = len(lost)
        answer.partial_success.error_message = text
    return _response(PROTOBUF, answer.SerializeToString())


def error(media_type: str, status: int, text: str) -> HttpResponse:
    """An error, as `google.rpc.Status`."""
    code = CODES.get(status, 2)
    if media_type == JSON:
        return _response(JSON, orjson.dumps({"code": code, "message": text}), status)
    # The same in bytes as `google.rpc.Status`, which needs one more package.
    answer = ExportTracePartialSuccess(rejected_spans=code, error_message=text)
    return _response(PROTOBUF, answer.SerializeToString(), status)


def _response(media_type: str, body: bytes, status: int = 200) -> HttpResponse:
    return HttpResponse(body, content_type=media_type, status=status)


def _explanation(lost: Sequence[LeftOut]) -> str:
    """How many were left out for each reason, and what to do about it."""
    by_reason: dict[str, list[LeftOut]] = {}
    for one in lost:
        by_reason.setdefault(one.reason.label, []).append(one)
    return " ".join(
        f"{len(found)} {label}: {found[0].reason.remedy}{_details(found)}"
        for label, found in by_reason.items()
    )


def _details(found: Sequence[LeftOut]) -> str:
    details = [
        f"{one.place[:PLACE_MAX]}: {one.detail}" if one.place else one.detail
        for one in found
        if one.detail
    ]
    return f" ({'; '.join(details[:DETAILS_MAX])})" if details else ""
