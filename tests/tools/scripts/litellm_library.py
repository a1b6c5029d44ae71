"""LiteLLM as a library, with its callback `generic_api`."""

import asyncio
import os
from typing import Any

import asking
import litellm
from asking import Conversation
from litellm.integrations.generic_api.generic_api_callback import GenericAPILogger

from tests.tools import conversations as c

litellm.turn_off_message_logging = os.environ.get("REDACT") == "1"
litellm.suppress_debug_info = True
SERVER = {"api_base": f"{asking.MODEL_SERVER}/v1", "api_key": "none", "max_retries": 0}
loop = asyncio.new_event_loop()


async def start() -> GenericAPILogger:
    logger = GenericAPILogger(
        endpoint=f"{os.environ['STORE']}/api/v1/ingest/litellm/",
        headers={"Authorization": f"Api-Key {os.environ['STORE_KEY']}"},
    )
    litellm.callbacks = [logger]
    return logger


async def ask(conversation: Conversation) -> None:
    options: dict[str, Any] = SERVER | {"user": asking.USER, "model": f"openai/{c.MODEL}"}
    if conversation.responses:
        stream = conversation.streamed
        question = {"instructions": c.SYSTEM, "input": conversation.question}
        answer = await litellm.aresponses(stream=stream, **question, **options)
        await read(answer, conversation)
        return
    if conversation.second_answer:
        options["n"] = 2
    if conversation.asks_usage:
        options["stream_options"] = {"include_usage": True}
    said = asking.messages(conversation)
    if conversation.calls_tool:
        options["tools"] = asking.TOOLS
        first = await litellm.acompletion(messages=said, **options)
        step = first.choices[0].message
        result = {"role": "tool", "tool_call_id": step.tool_calls[0].id, "content": "21"}
        said += [step.model_dump(), result]
    answer = await litellm.acompletion(messages=said, stream=conversation.streamed, **options)
    await read(answer, conversation)


async def read(answer: Any, conversation: Conversation) -> None:
    left = conversation.read
    if not conversation.streamed:
        return
    async for chunk in answer:
        if left and chunk.choices[0].delta.content:
            left -= 1
            if not left:
                await answer.aclose()
                return


async def flush() -> None:
    """Events come to the queue some time after the call, and it is not emptied at the end."""
    await asyncio.sleep(1)
    await logger.flush_queue()


logger = loop.run_until_complete(start())
asking.every_case(
    lambda case, conversation: loop.run_until_complete(ask(conversation)),
    lambda: loop.run_until_complete(flush()),
)
