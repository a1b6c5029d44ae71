"""Which tools are run, in which release, with which settings."""

from collections.abc import Mapping
from dataclasses import dataclass, field

CAPTURE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
OTLP = {
    "OTEL_EXPORTER_OTLP_ENDPOINT": "{store}/api/otlp",
    "OTEL_EXPORTER_OTLP_HEADERS": "Authorization=Api-Key {key}",
    # Only what a script flushes is sent, however slow the machine is: a case is one request.
    "OTEL_BSP_SCHEDULE_DELAY": "600000",
    "OTEL_BLRP_SCHEDULE_DELAY": "600000",
}
SPANS = OTLP | {CAPTURE: "SPAN_ONLY"}
EVENTS = OTLP | {CAPTURE: "EVENT_ONLY"}
MLFLOW = {
    "MLFLOW_ENABLE_OTLP_EXPORTER": "true",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "{store}/api/otlp/v1/traces",
    "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf",
    "OTEL_EXPORTER_OTLP_TRACES_HEADERS": "Authorization=Api-Key {key}",
    "OTEL_BSP_SCHEDULE_DELAY": "600000",
}
LANGFUSE = {
    "LANGFUSE_PUBLIC_KEY": "chat",
    "LANGFUSE_SECRET_KEY": "{key}",
    "LANGFUSE_BASE_URL": "{store}",
    "LANGFUSE_HOST": "{store}",  # its name in 3.x
}
LITELLM = {"LITELLM_LOCAL_MODEL_COST_MAP": "True"}
BOTH = ("traces", "logs")


@dataclass(frozen=True)
class Run:
    """One run of a tool. `settings` are environment variables; {store} and {key} are filled in."""

    requirements: str
    """A file in `requirements/`; its virtual environment has the same name."""
    script: str
    settings: Mapping[str, str]
    source: str = "otlp"
    """Its name in metrics."""
    signals: tuple[str, ...] = ("traces",)
    """What it sends, if that is OTLP."""
    is_bound: bool = False
    """Whether the tool cannot name the user, so that it gets a key bound to the user."""
    cases: tuple[str, ...] = field(default=())
    """Only these; none: all."""


def of(requirements: str, script: str, settings: Mapping[str, str], *cases: str) -> Run:
    """A run that sends OTLP."""
    return Run(requirements, script, settings, cases=cases)


RUNS = {
    "genai-openai-1.3b0-span": of("genai-openai", "genai_openai", SPANS),
    "genai-openai-1.3b0-event": Run(
        "genai-openai", "genai_openai", EVENTS, signals=BOTH, is_bound=True
    ),
    "genai-openai-1.3b0-default": of("genai-openai", "genai_openai", OTLP, "answer", "stream"),
    "genai-openai-1.3b0-true": of(
        "genai-openai", "genai_openai", OTLP | {CAPTURE: "true"}, "answer", "stream"
    ),
    "genai-openai-1.3b0-json": of(
        "genai-openai-json", "genai_openai", SPANS | {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"}
    ),
    "genai-openai-1.3b0-gzip": of(
        "genai-openai",
        "genai_openai",
        SPANS | {"OTEL_EXPORTER_OTLP_COMPRESSION": "gzip"},
        *("answer", "tool"),
    ),
    "genai-openai-1.3b0-deflate": of(
        "genai-openai",
        "genai_openai",
        SPANS | {"OTEL_EXPORTER_OTLP_COMPRESSION": "deflate"},
        *("answer", "tool"),
    ),
    "genai-openai-1.3b0-cut": of(
        "genai-openai",
        "genai_openai",
        SPANS | {"OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": "100"},
        *("answer", "follow_up"),
    ),
    "genai-anthropic-1.3b0-span": of("genai-anthropic", "genai_anthropic", SPANS),
    "genai-langchain-1.3b0-span": of("genai-langchain", "genai_langchain", SPANS),
    "openai-agents-0.24.0": of("openai-agents", "openai_agents", SPANS),
    "openai-v2-2.4b0-span": of("openai-v2", "openai_v2", SPANS),
    "openai-v2-2.4b0-event": Run("openai-v2", "openai_v2", EVENTS, signals=BOTH, is_bound=True),
    "openai-v2-2.2b0": Run(
        "openai-v2-2.2", "openai_v2", OTLP | {CAPTURE: "true"}, signals=BOTH, is_bound=True
    ),
    "traceloop-0.62.4": of("traceloop", "traceloop", OTLP),
    "traceloop-0.62.4-untraced": of(
        "traceloop", "traceloop", OTLP | {"TRACELOOP_TRACE_CONTENT": "false"}, "answer", "stream"
    ),
    "traceloop-0.48.1": of("traceloop-0.48", "traceloop", OTLP),
    "openinference-0.1.66": of("openinference", "openinference_openai", OTLP),
    "openinference-0.1.66-hidden": of(
        "openinference",
        "openinference_openai",
        OTLP | {"OPENINFERENCE_HIDE_INPUTS": "true", "OPENINFERENCE_HIDE_OUTPUTS": "true"},
        *("answer", "stream"),
    ),
    "mlflow-3.17.2": of("mlflow", "mlflow_openai", MLFLOW),
    "langfuse-5.0.4": Run("langfuse", "langfuse_openai", LANGFUSE, source="langfuse"),
    "langfuse-3.10.0": Run("langfuse-3", "langfuse_openai", LANGFUSE, source="langfuse"),
    "litellm-1.110.2": Run("litellm", "litellm_library", LITELLM, source="litellm"),
    "litellm-1.110.2-redacted": Run(
        "litellm",
        "litellm_library",
        LITELLM | {"REDACT": "1"},
        source="litellm",
        signals=("records",),
        cases=("answer", "stream", "failure"),
    ),
    "litellm-proxy-1.110.2": Run("litellm-proxy", "litellm_proxy", LITELLM, source="litellm"),
    "llm-0.36": Run("llm", "llm_cli", {}, source="llm"),
}
