"""Reads OTLP in protobuf, one span at a time.

Read in one step, a body of spans without any content became 91 times as large: 64 MB would be 6 GB.
So the groups around the spans are walked through here, and protobuf reads each span by itself.
What is wrong with one then harms no other.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

from google.protobuf.message import DecodeError
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span as ProtobufSpan
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from chat.api.problems import InvalidRequest, TooLarge
from chat.ingest.calls import LeftOut
from chat.ingest.otlp.attributes import EVENTS, is_read
from chat.ingest.otlp.spans import (
    ITEMS_MAX,
    RECORD_BYTES_MAX,
    RECORDS_MAX,
    TOO_LARGE,
    Attributes,
    Span,
    bounded,
)
from chat.ingest.reasons import Reason

GROUPS, RESOURCE, SCOPE_GROUPS, RECORDS = 1, 1, 2, 2
"""Numbers of fields in opentelemetry/proto: of `TracesData`, `ResourceSpans` and `ScopeSpans`, and
the same in their twins for log records."""

_UNREADABLE = LeftOut(Reason.INVALID, "It cannot be read as a span or log record.")

Range = tuple[int, int]
"""Where a message begins and ends in a body."""


def spans(body: bytes) -> Iterator[Span | LeftOut]:
    """The spans in an `ExportTraceServiceRequest`. Raises InvalidRequest and TooLarge."""
    return _read(body, _span)


def log_records(body: bytes) -> Iterator[Span | LeftOut]:
    """The log records in an `ExportLogsServiceRequest`. Raises InvalidRequest and TooLarge."""
    return _read(body, _log_record)


def _read(
    body: bytes, read: Callable[[bytes, Attributes], Span | LeftOut]
) -> Iterator[Span | LeftOut]:
    for resource, records in _groups(body):
        for start, end in records:
            if end - start > RECORD_BYTES_MAX:
                yield TOO_LARGE
                continue
            try:
                yield read(body[start:end], resource)
            except (DecodeError, RecursionError):
                yield _UNREADABLE
            except ValueError as error:
                yield LeftOut(Reason.INVALID, f"{error}.")


def _groups(body: bytes) -> Iterator[tuple[Attributes, list[Range]]]:
    """The attributes of each resource, and where its records are."""
    count = 0
    groups = [place for number, place in _fields(body, (0, len(body))) if number == GROUPS]
    if body and not groups:
        raise InvalidRequest("The body is not OTLP in protobuf: it has no resource.")
    for group in groups:
        resource: Attributes = {}
        scopes = []
        for number, place in _fields(body, group):
            if number == SCOPE_GROUPS:
                scopes.append(place)
            elif number == RESOURCE:
                resource = _resource(body, place)
        records = [
            place for scope in scopes for number, place in _fields(body, scope) if number == RECORDS
        ]
        count += 1 + len(scopes) + len(records)
        if count > RECORDS_MAX:
            raise too_many()
        yield resource, records


def too_many() -> TooLarge:
    """The error for a body with more spans than it may have."""
    return TooLarge(f"The body must have at most {RECORDS_MAX} spans. Send smaller batches.")


def _fields(body: bytes, place: Range) -> Iterator[tuple[int, Range]]:
    """The fields of a message that have a length: their numbers, and where their content is.

    https://protobuf.dev/programming-guides/encoding/. Raises InvalidRequest, and TooLarge if there
    are too many.
    """
    position, end = place
    count = 0
    while position < end:
        count += 1
        if count > RECORDS_MAX:
            raise too_many()
        tag, position = _varint(body, position, end)
        number, wire_type = tag >> 3, tag & 7
        if number == 0:
            raise _malformed()
        if wire_type == 2:
            length, position = _varint(body, position, end)
            yield number, (position, position + length)
            position += length
        elif wire_type == 0:
            _, position = _varint(body, position, end)
        elif wire_type in (1, 5):
            position += 8 if wire_type == 1 else 4
        else:
            raise _malformed()
    if position != end:
        raise _malformed()


def _varint(body: bytes, position: int, end: int) -> tuple[int, int]:
    """A number, and where it ends."""
    value = shift = 0
    while position < end and shift < 64:
        byte = body[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, position
        shift += 7
    raise _malformed()


def _malformed() -> InvalidRequest:
    return InvalidRequest("The body is not OTLP in protobuf, or it is cut off.")


def _resource(body: bytes, place: Range) -> Attributes:
    start, end = place
    if end - start > RECORD_BYTES_MAX:
        raise TooLarge(f"A resource may have {RECORD_BYTES_MAX} bytes.")
    try:
        return _attributes(Resource.FromString(body[start:end]).attributes)
    except (DecodeError, RecursionError, ValueError):
        raise _malformed() from None


def _span(data: bytes, resource: Attributes) -> Span:
    found = ProtobufSpan.FromString(data)
    return Span(
        found.trace_id.hex(),
        found.span_id.hex(),
        found.start_time_unix_nano,
        found.end_time_unix_nano,
        _attributes(found.attributes),
        resource,
        found.status.code == Status.STATUS_CODE_ERROR,
        found.dropped_attributes_count,
        events=[
            (event.name, _attributes(event.attributes))
            for event in islice(found.events, ITEMS_MAX)
            if event.name in EVENTS
        ],
    )


def _log_record(data: bytes, resource: Attributes) -> Span:
    found = LogRecord.FromString(data)
    time = found.time_unix_nano or found.observed_time_unix_nano
    span = Span(found.trace_id.hex(), found.span_id.hex(), time, time, {}, resource)
    span.event = found.event_name
    if found.event_name in EVENTS:
        span.attributes = _attributes(found.attributes)
        span.dropped = found.dropped_attributes_count
    return span


def _attributes(pairs: Sequence[KeyValue]) -> Attributes:
    return {key: _value(pair.value) for pair in bounded(pairs) if is_read(key := pair.key)}


def _value(value: AnyValue) -> Any:
    if text := value.string_value:  # fast path: nearly every value
        return text
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(item) for item in bounded(value.array_value.values)]
    if kind == "kvlist_value":
        return {pair.key: _value(pair.value) for pair in bounded(value.kvlist_value.values)}
    return None if kind is None else getattr(value, kind)
