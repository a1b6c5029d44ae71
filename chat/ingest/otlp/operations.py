"""How the OpenAPI schema describes the addresses of OTLP. Their formats are OpenTelemetry's own."""

from typing import Any

from drf_spectacular.utils import OpenApiResponse, extend_schema, extend_schema_view

from chat.api.schema import API_KEY_ONLY
from chat.ingest.otlp.answers import JSON, PROTOBUF

MEDIA_TYPES: dict[str, Any] = {
    JSON: {"type": "object"},
    PROTOBUF: {"type": "string", "format": "binary"},
}

STATUSES = {
    200: "Read. `partial_success` says how many calls of models were not stored, and why.",
    400: "Not OTLP, or cut off. Sending it again is of no use.",
    401: "The API key is missing, unknown, revoked or expired.",
    403: "The caller may not do this.",
    413: "More than 64 MB or 100,000 spans. Send smaller batches.",
    415: "Neither of the two media types, or compressed otherwise than by gzip or deflate.",
    503: "Not stored, or not all of it. Send it again after `Retry-After` seconds.",
}


def exporting(operation_id: str, records: str, message: str) -> Any:
    """Documents a view that takes these records, which are sent as this message of OTLP."""
    return extend_schema_view(
        post=extend_schema(
            operation_id=operation_id,
            tags=["ingest"],
            auth=API_KEY_ONLY,
            summary=f"Take in {records} of OpenTelemetry",
            description=f"OTLP over HTTP: `{message}`, which may be compressed with gzip or "
            "deflate. Calls of models become interactions; all else is passed over. Sending it "
            "again changes nothing. Answers have the media type of the request, and errors are a "
            "`google.rpc.Status`: https://opentelemetry.io/docs/specs/otlp/#otlphttp",
            request=MEDIA_TYPES,
            responses={
                (status, media_type): OpenApiResponse(schema, description)
                for status, description in STATUSES.items()
                for media_type, schema in MEDIA_TYPES.items()
            },
        )
    )
