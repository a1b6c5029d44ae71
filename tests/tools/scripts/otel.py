"""Sets OpenTelemetry up as its guide says; the exporter takes its settings from the environment."""

import contextlib
import os
from collections.abc import Iterator
from typing import Any

from asking import CASES, USER
from opentelemetry import baggage, context, trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

if os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL") == "http/json":
    from opentelemetry.exporter.otlp.json.http.trace_exporter import OTLPSpanExporter as Exporter
else:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as Exporter

RESOURCE = Resource({"service.name": "tools"})


def traces(with_baggage: bool = True) -> TracerProvider:
    """Export spans; with the user's id from baggage, which no instrumentation sets."""
    provider = TracerProvider(resource=RESOURCE)
    provider.add_span_processor(BatchSpanProcessor(Exporter()))
    if with_baggage:
        from opentelemetry.processor.baggage import BaggageSpanProcessor

        provider.add_span_processor(BaggageSpanProcessor(lambda key: key == "user.id"))
    trace.set_tracer_provider(provider)
    return provider


def logs() -> Any:
    """Export log records, for EVENT_ONLY."""
    from opentelemetry._logs import set_logger_provider
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
    from opentelemetry.sdk._logs import LoggerProvider
    from opentelemetry.sdk._logs.export import BatchLogRecordProcessor

    provider = LoggerProvider(resource=RESOURCE)
    provider.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter()))
    set_logger_provider(provider)
    return provider


@contextlib.contextmanager
def around(case: str) -> Iterator[None]:
    """Name the user of a case's calls and, if the case says so, trace them together."""
    token = context.attach(baggage.set_baggage("user.id", USER))
    try:
        if CASES[case].in_one_trace:
            with trace.get_tracer("application").start_as_current_span("turn"):
                yield
        else:
            yield
    finally:
        context.detach(token)
