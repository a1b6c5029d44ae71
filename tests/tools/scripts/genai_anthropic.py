"""opentelemetry-instrumentation-genai-anthropic."""

from typing import Any

import anthropic
import asking
import otel
from asking import Conversation
from opentelemetry.instrumentation.genai.anthropic import AnthropicInstrumentor

from tests.tools import conversations as c

tracing = otel.traces()
AnthropicInstrumentor().instrument()
client = anthropic.Anthropic(base_url=asking.MODEL_SERVER, api_key="none", max_retries=0)
TOOLS = [{"name": c.TOOL, "input_schema": asking.TOOLS[0]["function"]["parameters"]}]


def ask(case: str, conversation: Conversation) -> None:
    if conversation.responses or conversation.second_answer:
        return
    said: list[Any] = [{"role": role, "content": text} for role, text in conversation.history]
    question: Any = conversation.question
    if conversation.has_image:
        source = {"type": "base64", "media_type": "image/png", "data": c.PIXEL}
        question = [{"type": "text", "text": question}, {"type": "image", "source": source}]
    said.append({"role": "user", "content": question})
    options: dict[str, Any] = {"model": c.MODEL, "max_tokens": 1000, "system": c.SYSTEM}
    if conversation.calls_tool:
        options["tools"] = TOOLS
        step = client.messages.create(messages=said, **options)
        result = {"type": "tool_result", "tool_use_id": step.content[0].id, "content": "21"}
        said.append({"role": "assistant", "content": step.content})
        said.append({"role": "user", "content": [result]})
    if conversation.reasoning:
        options["thinking"] = {"type": "enabled", "budget_tokens": 1024}
        options["max_tokens"] = 2048
    if not conversation.streamed:
        client.messages.create(messages=said, **options)
        return
    left = conversation.read
    with client.messages.stream(messages=said, **options) as stream:
        for _ in stream.text_stream:
            left -= 1
            if not left:
                break


asking.every_case(ask, tracing.force_flush, otel.around)
