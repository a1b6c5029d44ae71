"""Reads OTLP in JSON, one span at a time.

Not with protobuf's `json_format`: it takes the ids, which are hexadecimal here, for base64, makes 0
of a name of an enum that it does not know, and took 200 times as long as protobuf.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import msgspec
from msgspec import Raw

from chat.api.problems import InvalidRequest, TooLarge
from chat.ingest.calls import LeftOut
from chat.ingest.json_records import mended
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

OBJECTS_MAX = 2_000_000
"""Objects in a body, which take some 100 bytes each meanwhile. Braces in texts count, too."""

COMMAS_MAX = 4_000_000
"""Commas in a body: between two may be one byte, which takes 40 until it is seen to be no span. The
largest body may have one for each 16 bytes, and exporters write fewer."""

Whole = int | str
"""A number of 64 bits may be a string (https://protobuf.dev/programming-guides/json/)."""

T = TypeVar("T")


class _Struct(msgspec.Struct, rename="camel"):
    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


class _Value(_Struct):
    string_value: str | None = None
    bool_value: bool | None = None
    int_value: Whole | None = None
    double_value: float | str | None = None
    array_value: "_Values | None" = None
    kvlist_value: "_Pairs | None" = None


class _Values(_Struct):
    values: list[_Value] = []


class _Pair(_Struct):
    key: str
    value: _Value | None = None


class _Pairs(_Struct):
    values: list[_Pair] = []


class _Event(_Struct):
    name: str = ""
    attributes: list[_Pair] = []


class _Status(_Struct):
    code: Whole = 0


class _Span(_Struct):
    trace_id: str = ""
    span_id: str = ""
    start_time_unix_nano: Whole = 0
    end_time_unix_nano: Whole = 0
    attributes: list[_Pair] = []
    dropped_attributes_count: int = 0
    events: list[_Event] = []
    status: _Status | None = None


class _LogRecord(_Struct):
    trace_id: str = ""
    span_id: str = ""
    time_unix_nano: Whole = 0
    observed_time_unix_nano: Whole = 0
    event_name: str = ""
    attributes: list[_Pair] = []
    dropped_attributes_count: int = 0


class _Resource(_Struct):
    attributes: list[_Pair] = []


class _ScopeSpans(_Struct):
    spans: list[Raw] = []


class _ResourceSpans(_Struct):
    resource: _Resource | None = None
    scope_spans: list[_ScopeSpans] = []


class _Traces(_Struct):
    resource_spans: list[_ResourceSpans] | None = None


class _ScopeLogs(_Struct):
    log_records: list[Raw] = []


class _ResourceLogs(_Struct):
    resource: _Resource | None = None
    scope_logs: list[_ScopeLogs] = []


class _Logs(_Struct):
    resource_logs: list[_ResourceLogs] | None = None


_TRACES = msgspec.json.Decoder(_Traces)
_LOGS = msgspec.json.Decoder(_Logs)
_SPAN = msgspec.json.Decoder(_Span)
_OBJECT = msgspec.json.Decoder(dict[str, Raw])
_LOG_RECORD = msgspec.json.Decoder(_LogRecord)


def spans(body: bytes) -> Iterator[Span | LeftOut]:
    """The spans in an `ExportTraceServiceRequest`. Raises InvalidRequest and TooLarge."""
    groups = _decoded(_TRACES, body).resource_spans
    if groups is None:
        groups = _none_in(body, "resourceSpans")
    return _read(
        [
            (group.resource, [span for scope in group.scope_spans for span in scope.spans])
            for group in groups
        ],
        _span,
    )


def log_records(body: bytes) -> Iterator[Span | LeftOut]:
    """The log records in an `ExportLogsServiceRequest`. Raises InvalidRequest and TooLarge."""
    groups = _decoded(_LOGS, body).resource_logs
    if groups is None:
        groups = _none_in(body, "resourceLogs")
    return _read(
        [
            (group.resource, [record for scope in group.scope_logs for record in scope.log_records])
            for group in groups
        ],
        _log_record,
    )


def _none_in(body: bytes, name: str) -> list[Any]:
    """An empty request, which OTLP allows. Raises InvalidRequest if it is something else."""
    if _decoded(_OBJECT, body):
        raise InvalidRequest(f"The body is not OTLP in JSON: it has no {name}.")
    return []


def _decoded(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    if body.count(b"{") > OBJECTS_MAX:
        raise TooLarge(f"The body must have at most {OBJECTS_MAX} objects. Send smaller batches.")
    if body.count(b",") > COMMAS_MAX:
        raise TooLarge(f"The body must have at most {COMMAS_MAX} commas. Send smaller batches.")
    try:
        return _decoded_or_mended(decoder, body)
    except UnicodeError:
        reason = "not UTF-8"
    except RecursionError:
        reason = "nested too deeply"
    except ValueError as error:  # its text quotes no value
        reason = str(error)
    raise InvalidRequest(f"The body is not OTLP in JSON: {reason}.")


def _decoded_or_mended(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    try:
        return decoder.decode(body)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:  # JavaScript cuts texts in the middle of a character
        return decoder.decode(mended(body))


def _read(
    groups: Sequence[tuple[_Resource | None, list[Raw]]],
    read: Callable[[Raw, Attributes], Span],
) -> Iterator[Span | LeftOut]:
    if len(groups) + sum(len(records) for _, records in groups) > RECORDS_MAX:
        raise TooLarge(f"The body must have at most {RECORDS_MAX} spans. Send smaller batches.")
    return _spans(groups, read)


def _spans(
    groups: Sequence[tuple[_Resource | None, list[Raw]]],
    read: Callable[[Raw, Attributes], Span],
) -> Iterator[Span | LeftOut]:
    for resource, records in groups:
        of_resource = _of_resource(resource)
        for record in records:
            if memoryview(record).nbytes > RECORD_BYTES_MAX:
                yield TOO_LARGE
                continue
            try:
                yield read(record, of_resource)
            except RecursionError:
                yield LeftOut(Reason.INVALID, "It is nested too deeply.")
            except ValueError as error:
                yield LeftOut(Reason.INVALID, f"{error}.")


def _of_resource(resource: _Resource | None) -> Attributes:
    try:
        return _attributes(resource.attributes) if resource else {}
    except (RecursionError, ValueError):
        raise InvalidRequest("A resource has too many attributes, or too deep ones.") from None


def _span(raw: Raw, resource: Attributes) -> Span:
    found = _SPAN.decode(raw)
    return Span(
        found.trace_id.lower(),
        found.span_id.lower(),
        _whole(found.start_time_unix_nano),
        _whole(found.end_time_unix_nano),
        _attributes(found.attributes),
        resource,
        found.status is not None and found.status.code in (2, "STATUS_CODE_ERROR"),
        found.dropped_attributes_count,
        events=[
            (event.name, _attributes(event.attributes))
            for event in found.events[:ITEMS_MAX]
            if event.name in EVENTS
        ],
    )


def _log_record(raw: Raw, resource: Attributes) -> Span:
    found = _LOG_RECORD.decode(raw)
    time = _whole(found.time_unix_nano) or _whole(found.observed_time_unix_nano)
    span = Span(found.trace_id.lower(), found.span_id.lower(), time, time, {}, resource)
    span.event = found.event_name
    if found.event_name in EVENTS:
        span.attributes = _attributes(found.attributes)
        span.dropped = found.dropped_attributes_count
    return span


def _whole(number: Whole) -> int:
    if isinstance(number, int):
        return number
    if len(number) > 20 or not number.isdecimal():
        raise ValueError("Times must be whole numbers of nanoseconds")
    return int(number)


def _attributes(pairs: list[_Pair]) -> Attributes:
    return {pair.key: _value(pair.value) for pair in bounded(pairs) if is_read(pair.key)}


def _value(value: _Value | None) -> Any:
    if value is None:
        return None
    if value.array_value is not None:
        return [_value(item) for item in bounded(value.array_value.values)]
    if value.kvlist_value is not None:
        return {pair.key: _value(pair.value) for pair in bounded(value.kvlist_value.values)}
    for found in (value.string_value, value.bool_value, value.int_value, value.double_value):
        if found is not None:
            return found
    return None
