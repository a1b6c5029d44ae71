"""What to paste where so that something is no longer left out."""

from dataclasses import dataclass

from chat.ingest.reasons import Reason


@dataclass(frozen=True)
class Snippet:
    """Lines to paste, and where they belong."""

    place: str
    text: str


ENVIRONMENT = "the environment of your program"
LITELLM_CONFIG = "LiteLLM's config.yaml"

_REDACTION_OFF = Snippet(LITELLM_CONFIG, "litellm_settings:\n  turn_off_message_logging: false")
_USER_OF_OTLP = Snippet(
    "your program, with opentelemetry-processor-baggage installed",
    "from opentelemetry import baggage, context, trace\n"
    "from opentelemetry.processor.baggage import BaggageSpanProcessor\n"
    "\n"
    "trace.get_tracer_provider().add_span_processor(\n"
    '    BaggageSpanProcessor(lambda key: key == "user.id")\n'
    ")\n"
    "# Before each call of a model:\n"
    'context.attach(baggage.set_baggage("user.id", "ada"))',
)

_SNIPPETS = {
    ("otlp", Reason.NO_TEXT): Snippet(
        ENVIRONMENT, "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT=SPAN_ONLY"
    ),
    ("otlp", Reason.TEXT_APART): Snippet(
        "the shell that starts your program",
        "pip uninstall --yes opentelemetry-instrumentation-openai-v2\n"
        "pip install opentelemetry-instrumentation-genai-openai\n"
        "export OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT=SPAN_ONLY",
    ),
    ("otlp", Reason.NO_USER): _USER_OF_OTLP,
    ("otlp", Reason.REDACTED): Snippet(
        ENVIRONMENT, "OPENINFERENCE_HIDE_INPUTS=false\nOPENINFERENCE_HIDE_OUTPUTS=false"
    ),
    ("otlp", Reason.CUT): Snippet(
        ENVIRONMENT,
        "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT=\n"
        "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT=\n"
        "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT=10000",
    ),
    ("langfuse", Reason.NO_USER): Snippet(
        "your program",
        "from langfuse import propagate_attributes\n"
        "\n"
        'with propagate_attributes(user_id="ada"):\n'
        "    ...  # the calls of models",
    ),
    ("litellm", Reason.NO_TEXT): _REDACTION_OFF,
    ("litellm", Reason.REDACTED): _REDACTION_OFF,
    ("litellm", Reason.NO_USER): Snippet("each call of a model", 'user="ada"'),
}


def snippet(source: str, reason: Reason) -> Snippet | None:
    """What to paste if calls from this source are left out for this reason."""
    if source.startswith("file:") and reason is Reason.NO_USER:
        return Snippet("the command", "--user ada")
    return _SNIPPETS.get((source, reason))
