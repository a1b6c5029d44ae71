"""opentelemetry-instrumentation-openai-v2, the predecessor of genai-openai."""

import asking
import openai
import otel
from opentelemetry.instrumentation.openai_v2 import OpenAIInstrumentor

tracing, logging = otel.traces(), otel.logs()
OpenAIInstrumentor().instrument()
client = openai.OpenAI(base_url=f"{asking.MODEL_SERVER}/v1", api_key="none", max_retries=0)


def flush() -> None:
    tracing.force_flush()
    logging.force_flush()


asking.every_case(
    lambda case, conversation: asking.ask_openai(client, conversation), flush, otel.around
)
