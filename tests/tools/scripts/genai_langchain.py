"""opentelemetry-instrumentation-genai-langchain."""

from typing import Any

import asking
import otel
from asking import Conversation
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from opentelemetry.instrumentation.genai.langchain import LangChainInstrumentor

from tests.tools import conversations as c

tracing = otel.traces()
LangChainInstrumentor().instrument()


@tool
def temperature(city: str) -> str:
    """How warm it is in a city."""
    return "21"


def ask(case: str, conversation: Conversation) -> None:
    model = ChatOpenAI(
        model=c.MODEL,
        base_url=f"{asking.MODEL_SERVER}/v1",
        api_key="none",
        max_retries=0,
        n=2 if conversation.second_answer else None,
        use_responses_api=conversation.responses,
        stream_usage=conversation.asks_usage,
    )
    said: list[Any] = [SystemMessage(c.SYSTEM)]
    kinds = {"user": HumanMessage, "assistant": AIMessage}
    said += [kinds[role](text) for role, text in conversation.history]
    said.append(HumanMessage(asking.messages(conversation)[-1]["content"]))
    if conversation.calls_tool:
        with_tools = model.bind_tools([temperature])
        step = with_tools.invoke(said)
        call = step.tool_calls[0]
        said += [step, ToolMessage(temperature.invoke(call["args"]), tool_call_id=call["id"])]
    if conversation.streamed:
        left = conversation.read
        stream = model.stream(said)
        for chunk in stream:
            if left and chunk.text:
                left -= 1
                if not left:
                    stream.close()
                    break
    else:
        model.invoke(said)


asking.every_case(ask, tracing.force_flush, otel.around)
