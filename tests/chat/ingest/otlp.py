"""Bodies of OTLP, and clients that send them as exporters do."""

import gzip
import zlib
from pathlib import Path
from typing import Any

import orjson
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

TRACES = "/api/otlp/v1/traces"
LOGS = "/api/otlp/v1/logs"
LANGFUSE = "/api/public/otel/v1/traces"
PROTOBUF = "application/x-protobuf"
JSON = "application/json"
BODIES = Path(__file__).parent / "bodies"

START = 1_793_612_000_123_456_789
"""Nanoseconds: some time in November 2026."""

TRACE = "0af7651916cd43dd8448eb211c80319c"


def recorded(name: str) -> bytes:
    """A recorded body, unpacked."""
    path = BODIES / name
    content = path.read_bytes()
    if path.suffix == ".gz":
        return gzip.decompress(content)
    return zlib.decompress(content) if path.suffix == ".deflate" else content


def post(
    client: Any, body: bytes, path: str = TRACES, media_type: str = PROTOBUF, **headers: Any
) -> Any:
    """Send a body as an exporter does."""
    return client.post(path, body, content_type=media_type, CONTENT_TYPE=media_type, **headers)


def packed(client: Any, body: bytes, encoding: str, **options: Any) -> Any:
    """Send a compressed body."""
    content = gzip.compress(body) if encoding == "gzip" else zlib.compress(body)
    return post(client, content, HTTP_CONTENT_ENCODING=encoding, **options)


def said(text: str, role: str = "user") -> str:
    """A message in the semantic conventions, as JSON."""
    return orjson.dumps([{"role": role, "parts": [{"type": "text", "content": text}]}]).decode()


def chat(**attributes: Any) -> dict[str, Any]:
    """The attributes of a span of a chat; None leaves one out."""
    given = {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "m",
        "gen_ai.response.model": "m-1",
        "gen_ai.input.messages": said("What is a heap?"),
        "gen_ai.output.messages": said("A tree.", "assistant"),
        "gen_ai.usage.input_tokens": 111,
        "gen_ai.usage.output_tokens": 22,
        "user.id": "ada",
    }
    named = given | {name.replace("__", "."): value for name, value in attributes.items()}
    return {name: value for name, value in named.items() if value is not None}


def span(number: int = 1, attributes: dict[str, Any] | None = None, **fields: Any) -> Span:
    """A span with an id of its own."""
    defaults: dict[str, Any] = {
        "trace_id": bytes.fromhex(TRACE),
        "span_id": number.to_bytes(8, "big"),
        "name": "chat m",
        "start_time_unix_nano": START,
        "end_time_unix_nano": START + 2 * 10**9,
    }
    pairs = [
        KeyValue(key=name, value=value(found))
        for name, found in (chat() if attributes is None else attributes).items()
    ]
    return Span(**(defaults | fields), attributes=pairs)


def value(found: Any) -> AnyValue:
    """An attribute's value."""
    if isinstance(found, str):
        return AnyValue(string_value=found)
    if isinstance(found, int):
        return AnyValue(int_value=found)
    return AnyValue(double_value=found)


def traces(*spans: Span) -> bytes:
    """A request with these spans, in protobuf."""
    group = ResourceSpans(scope_spans=[ScopeSpans(spans=spans)])
    return ExportTraceServiceRequest(resource_spans=[group]).SerializeToString()


def traces_json(*spans: Any) -> bytes:
    """The same in JSON, of spans that are dictionaries."""
    return orjson.dumps({"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]})


def json_span(number: int = 1, attributes: dict[str, Any] | None = None, **fields: Any) -> Any:
    """A span as JSON has it."""
    kinds = {str: "stringValue", int: "intValue", float: "doubleValue"}
    return {
        "traceId": TRACE,
        "spanId": f"{number:016x}",
        "name": "chat m",
        "startTimeUnixNano": str(START),
        "endTimeUnixNano": str(START + 2 * 10**9),
        "attributes": [
            {"key": name, "value": {kinds[type(found)]: found}}
            for name, found in (chat() if attributes is None else attributes).items()
        ],
    } | fields


def partial(response: Any) -> tuple[int, str]:
    """How many an answer says were rejected, and why. Checks that it is OTLP's."""
    assert response.status_code == 200, response.content
    if response["Content-Type"] == JSON:
        found = orjson.loads(response.content).get("partialSuccess", {})
        rejected = found.get("rejectedSpans") or found.get("rejectedLogRecords")
        return int(rejected or 0), found.get("errorMessage", "")
    assert response["Content-Type"] == PROTOBUF
    answer = ExportTraceServiceResponse.FromString(response.content).partial_success
    logs = ExportLogsServiceResponse.FromString(response.content).partial_success
    assert logs.rejected_log_records == answer.rejected_spans
    return answer.rejected_spans, answer.error_message


def error(response: Any) -> tuple[int, str]:
    """The status of an error, and what it says. Checks that it is `google.rpc.Status`."""
    if response["Content-Type"] == JSON:
        found = orjson.loads(response.content)
        assert set(found) == {"code", "message"}
        return response.status_code, found["message"]
    assert response["Content-Type"] == PROTOBUF
    status = ExportTracePartialSuccess.FromString(response.content)  # the same in bytes
    assert status.rejected_spans > 0
    return response.status_code, status.error_message


def contents(interaction: Any) -> tuple[str, str, str, int, int]:
    """Texts, model and tokens."""
    one = interaction
    return one.message, one.response, one.model_used, one.input_tokens, one.output_tokens


def stored(storage: Any, user_id: str = "ada") -> list[tuple[str, str, str, int, int]]:
    """What is stored of a user, oldest first."""
    return [contents(one) for one in reversed(storage.get_user_interactions_sync(user_id, 1000))]
