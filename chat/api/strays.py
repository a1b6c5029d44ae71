"""Requests of OpenTelemetry exporters to an address that takes none of them.

An exporter shows its user the status alone, so the log says what is wrong, too.
"""

import logging

logger = logging.getLogger(__name__)

HALF_ADDRESSES = ("/api/otlp", "/api/public/otel")
"""Where what is set for one signal, and so used as it stands, lacks its end."""

WRONG_ADDRESS = (
    "OTLP is not taken at this address. Set OTEL_EXPORTER_OTLP_ENDPOINT to this server's address "
    "with /api/otlp at its end, or OTEL_EXPORTER_OTLP_TRACES_ENDPOINT to the same with "
    "/api/otlp/v1/traces."
)
NO_METRICS = "Metrics are not taken. Set OTEL_METRICS_EXPORTER=none in your program's environment."


def stray_exporter(path: str) -> str | None:
    """Returns what an exporter that has sent to this path should be set to, and logs it.

    None if the path does not look like one of OTLP.
    """
    path = path.rstrip("/")
    if path.endswith("/v1/metrics"):
        detail = NO_METRICS
    elif path.endswith(("/v1/traces", "/v1/logs")) or path in HALF_ADDRESSES:
        detail = WRONG_ADDRESS
    else:
        return None
    logger.warning("An OpenTelemetry exporter got a 404: %s", detail)
    return detail
