"""opentelemetry-instrumentation-genai-openai."""

import os

import asking
import openai
import otel
from opentelemetry.instrumentation.genai.openai import OpenAIInstrumentor

tracing = otel.traces()
events = "EVENT" in os.environ.get("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "")
logging = otel.logs() if events else None
OpenAIInstrumentor().instrument()
client = openai.OpenAI(base_url=f"{asking.MODEL_SERVER}/v1", api_key="none", max_retries=0)


def flush() -> None:
    tracing.force_flush()
    if logging:
        logging.force_flush()


asking.every_case(
    lambda case, conversation: asking.ask_openai(client, conversation),
    flush,
    otel.around,
)
