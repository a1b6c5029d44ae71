"""OpenAI Agents, with opentelemetry-instrumentation-genai-openai seeing the calls it makes."""

import asyncio
from typing import Any

import asking
import otel
from agents import (
    Agent,
    ModelSettings,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    Runner,
    function_tool,
    set_tracing_disabled,
)
from asking import Conversation
from openai import AsyncOpenAI
from opentelemetry.instrumentation.genai.openai import OpenAIInstrumentor

from tests.tools import conversations as c

tracing = otel.traces()
OpenAIInstrumentor().instrument()
set_tracing_disabled(True)


@function_tool
def temperature(city: str) -> str:
    """How warm it is in a city."""
    return "21"


async def ask(conversation: Conversation) -> None:
    client = AsyncOpenAI(base_url=f"{asking.MODEL_SERVER}/v1", api_key="none", max_retries=0)
    kind = OpenAIResponsesModel if conversation.responses else OpenAIChatCompletionsModel
    agent = Agent(
        name="assistant",
        instructions=c.SYSTEM,
        model=kind(model=c.MODEL, openai_client=client),
        model_settings=ModelSettings(include_usage=conversation.asks_usage),
        tools=[temperature] if conversation.calls_tool else [],
    )
    said: list[Any] = [{"role": role, "content": text} for role, text in conversation.history]
    said.append({"role": "user", "content": conversation.question})
    if conversation.streamed:
        result = Runner.run_streamed(agent, said)
        async for _ in result.stream_events():
            pass
    else:
        await Runner.run(agent, said)
    await client.close()


def ask_now(case: str, conversation: Conversation) -> None:
    if not (conversation.has_image or conversation.second_answer or conversation.read):
        asyncio.run(ask(conversation))


asking.every_case(ask_now, tracing.force_flush, otel.around)
