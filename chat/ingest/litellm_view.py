"""`POST /api/v1/ingest/litellm/`: what LiteLLM's callback `generic_api` sends."""

import functools
import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from django.http import HttpResponse
from drf_spectacular.utils import OpenApiResponse, extend_schema, extend_schema_view
from msgspec import UNSET, Raw, UnsetType

from chat.api.problems import InvalidRequest, TooLarge
from chat.api.schema import API_KEY_ONLY, responses
from chat.api.views import json_response
from chat.ingest.calls import LeftOut, Translated
from chat.ingest.json_records import decoded, mended
from chat.ingest.keeping import Taken
from chat.ingest.litellm import translate
from chat.ingest.reasons import Reason
from chat.ingest.views import IngestView

RECORDS = 10_000
"""The most records in a body. With 7 kB each before any text, more do not fit into 64 MB."""

RECORD_BYTES_MAX = 8 * 1024 * 1024
"""Bytes of a record. Decoded it may take 25 times as much memory."""

_TOO_LARGE = f"A record may have {RECORD_BYTES_MAX} bytes; images belong elsewhere."

LISTED = 100
"""The most records that an answer says it left out, one by one."""

_COUNT = {"type": "integer", "minimum": 0}


@extend_schema_view(
    post=extend_schema(
        operation_id="ingest_litellm",
        tags=["ingest"],
        auth=API_KEY_ONLY,
        summary="Take in what LiteLLM's callback generic_api sends",
        description="An array of records, one record a line, or a single one; gzip if you say so. "
        "Sending them again changes nothing. A record that is not stored is no error: the answer "
        "says why.",
        request={"application/json": {}},
        responses={
            (200, "application/json"): OpenApiResponse(
                {
                    "type": "object",
                    "properties": {
                        "received": _COUNT,
                        "created": _COUNT,
                        "unchanged": _COUNT,
                        "left_out_count": _COUNT,
                        "left_out": {
                            "type": "array",
                            "maxItems": LISTED,
                            "items": {
                                "type": "object",
                                "properties": {
                                    name: {"type": "string"}
                                    for name in ("place", "reason", "detail", "remedy")
                                },
                            },
                        },
                    },
                },
                "Read. `left_out` says what is not stored, and why.",
            ),
            **responses((400, 401, 403, 413, 415, 503)),
        },
    )
)
class LiteLLMView(IngestView):
    """The calls that LiteLLM made."""

    source = "litellm"

    def translated(self, body: bytes, environ: Mapping[str, Any]) -> Iterator[Translated]:
        for number, raw in enumerate(_records(body), start=1):
            place = f"record {number}"
            if number > RECORDS:
                raise TooLarge(
                    f"A body may have {RECORDS} records. Set DEFAULT_BATCH_SIZE=64 for LiteLLM."
                )
            if memoryview(raw).nbytes > RECORD_BYTES_MAX:
                yield LeftOut(Reason.TOO_LONG, _TOO_LARGE, place)
                continue
            try:
                record = decoded(raw)
            except ValueError as error:
                yield LeftOut(Reason.INVALID, str(error), place)
            else:
                yield translate(record, place)

    def answer(self, taken: Taken) -> HttpResponse:
        return json_response(
            {
                "received": taken.received,
                "created": taken.created,
                "unchanged": taken.unchanged,
                "left_out_count": len(taken.left_out),
                "left_out": [_left_out(one) for one in taken.left_out[:LISTED]],
            }
        )


def _left_out(one: LeftOut) -> dict[str, str]:
    return {
        "place": one.place,
        "reason": one.reason.label,
        "detail": one.detail,
        "remedy": one.reason.remedy,
    }


def _records(body: bytes) -> Iterator[bytes | Raw]:
    """The records in an array, in lines, or the only one. Raises InvalidRequest."""
    start = body.lstrip()[:1]
    if not start:
        raise InvalidRequest("The body is empty. Send an array of records, or one record a line.")
    if start == b"[":
        yield from _items(body)
    elif _is_one_value(body):
        yield body
    else:
        yield from (line[0] for line in _LINE.finditer(body))


def _items(body: bytes) -> Iterator[Raw]:
    """The items of an array, not decoded yet: all of them at once would take too much memory."""
    try:
        array = _array_decoder().decode(body)
    except (ValueError, RecursionError):
        array = _decoded_again(mended(body))
    return (item for item in msgspec.structs.astuple(array) if item is not UNSET)


def _decoded_again(body: bytes) -> Any:
    try:
        return _array_decoder().decode(body)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"The body is not JSON that can be read: {error}") from None


def _is_one_value(body: bytes) -> bool:
    try:
        _VALUE.decode(body)
    except (ValueError, RecursionError):
        return False
    return True


_VALUE = msgspec.json.Decoder(Raw)
_LINE = re.compile(rb"\S[^\n]*")
"""A line that is not blank. Of blank ones, a body may have millions."""


@functools.cache
def _array_decoder() -> msgspec.json.Decoder[Any]:
    """Reads an array of up to RECORDS items, and one more if there are too many.

    It passes over all others without building anything.
    """
    fields = [(f"_{index}", Raw | UnsetType, UNSET) for index in range(RECORDS + 1)]
    return msgspec.json.Decoder(msgspec.defstruct("_Array", fields, array_like=True))
