"""openinference-instrumentation-openai, by Arize. The request tells the user."""

import asking
import openai
import otel
from openinference.instrumentation.openai import OpenAIInstrumentor

tracing = otel.traces(with_baggage=False)
OpenAIInstrumentor().instrument()
client = openai.OpenAI(base_url=f"{asking.MODEL_SERVER}/v1", api_key="none", max_retries=0)
asking.every_case(
    lambda case, conversation: asking.ask_openai(client, conversation, user=asking.USER),
    tracing.force_flush,
    otel.around,
)
