"""Traces of requests and of calls to the database, by OpenTelemetry; off without an endpoint.

Nothing of OpenTelemetry is imported when it is off. Spans have the route, the method, the status,
the id of the request and names of operations: no path, no query, no body, no key, and no message of
an exception. The SDK reads other settings by itself (`OTEL_SERVICE_NAME`, `OTEL_TRACES_SAMPLER`,
`OTEL_EXPORTER_OTLP_HEADERS`): https://opentelemetry.io/docs/specs/otel/configuration/
"""

import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from django.conf import settings

from chat.api.addresses import is_from_proxies
from config.watched import Watched
from storage.telemetry.calls import trace_with

logger = logging.getLogger(__name__)

SERVICE = "chat-interaction-store"

STOP_SECONDS = 2
"""How long the end of a process waits for a collector that does not answer."""

NOT_TRACED = ("/healthz", "/readyz", "/metrics")

active: "Tracing | None" = None
"""What traces the requests of this process; None if nothing does."""


class Tracing:
    """Makes spans, and sends them from a thread.

    Raises ImportError without the packages, and ValueError if the SDK refuses its own settings.
    """

    def __init__(self, endpoint: str) -> None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.trace import SpanKind, StatusCode
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._kinds, self._codes = SpanKind, StatusCode
        self._extract = TraceContextTextMapPropagator().extract
        own = Resource({SERVICE_NAME: SERVICE}).merge(OTELResourceDetector().detect())
        self._provider = TracerProvider(resource=own, shutdown_on_exit=False)
        exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces")
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer(SERVICE)

    @contextmanager
    def of_request(self, request: Watched, environ: dict[str, Any]) -> Iterator[None]:
        """A span around a request, but for those that come every few seconds for ever."""
        if environ["PATH_INFO"] in NOT_TRACED:
            yield
            return
        # What else a client may send with it (tracestate, baggage) would be passed on unread.
        given = environ.get("HTTP_TRACEPARENT")
        parent = None
        if given and is_from_proxies(environ):
            parent = self._extract({"traceparent": given})
        with self._span(request.method, self._kinds.SERVER, parent) as span:
            yield
            span.update_name(f"{request.method} {request.route}".strip())
            span.set_attributes(
                {
                    "http.request.method": request.method,
                    "http.response.status_code": int(request.status),
                    "http.route": request.route,
                    "chat.request_id": request.request_id,
                }
            )
            if request.status >= "500":
                span.set_status(self._codes.ERROR)

    @contextmanager
    def of_call(self, backend: str, operation: str) -> Iterator[None]:
        """A span around a call to the database."""
        with self._span(f"{operation} {backend}", self._kinds.CLIENT, None) as span:
            span.set_attribute("db.system.name", backend)
            span.set_attribute("db.operation.name", operation)
            try:
                yield
            except Exception as error:
                span.set_attribute("error.type", type(error).__name__)
                span.set_status(self._codes.ERROR)
                raise

    def _span(self, name: str, kind: Any, parent: Any) -> AbstractContextManager[Any]:
        return self._tracer.start_as_current_span(
            name, parent, kind=kind, record_exception=False, set_status_on_exception=False
        )

    def stop(self) -> None:
        """Send what waits, and end the thread."""
        self._provider.force_flush(STOP_SECONDS * 1000)
        self._provider.shutdown()


def start() -> None:
    """Begin to trace, if settings ask for it. Call it in the process that serves."""
    global active
    if not settings.TRACES_ENDPOINT:
        return
    try:
        active = Tracing(settings.TRACES_ENDPOINT)
    except ImportError as error:
        logger.error(
            "There are no traces, since %s is not installed, and OTEL_EXPORTER_OTLP_ENDPOINT is "
            "set. Install requirements/tracing.txt, or unset it.",
            error.name,
        )
        return
    except ValueError as error:
        logger.error("There are no traces: OpenTelemetry refuses its settings: %s", error)
        return
    trace_with(active.of_call)


def stop() -> None:
    """Send what waits, and trace nothing any more."""
    global active
    if active is not None:
        trace_with(None)
        active.stop()
        active = None
