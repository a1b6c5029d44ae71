"""Asks the model server every question of `conversations.py`, by way of the openai client."""

import contextlib
import gc
import os
import sys
import urllib.request
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from tests.tools import conversations as c
from tests.tools.conversations import CASES, Conversation

USER = os.environ["TOOL_USER"]
MODEL_SERVER = os.environ["MODEL_SERVER"]
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": c.TOOL,
            "description": "How warm it is in a city.",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
        },
    }
]


def nothing() -> None:
    """For tools that send each call by themselves."""


def every_case(
    ask: Callable[[str, Conversation], None],
    flush: Callable[[], Any] = nothing,
    around: Callable[[str], AbstractContextManager[Any]] = lambda case: contextlib.nullcontext(),
) -> None:
    """Ask each question, and send what the tool has seen before the next one."""
    wanted = os.environ.get("CASES", ",".join(CASES)).split(",")
    for case, conversation in CASES.items():
        if case not in wanted:
            continue
        announce(case)
        try:
            with around(case):
                ask(case, conversation)
        except Exception as error:
            if not conversation.fails:
                print(f"{case}: {type(error).__name__}: {error}", file=sys.stderr)
        flush()


def announce(case: str) -> None:
    """Tell the recorder, if there is one, which case comes next."""
    recorder = os.environ.get("RECORDER")
    if recorder:
        request = urllib.request.Request(f"{recorder}/case/{case}", method="PUT")
        urllib.request.urlopen(request).close()


def messages(conversation: Conversation) -> list[dict[str, Any]]:
    """The messages of a chat completion: system prompt, history and question."""
    said: list[dict[str, Any]] = [{"role": "system", "content": c.SYSTEM}]
    said += [{"role": role, "content": text} for role, text in conversation.history]
    question: Any = conversation.question
    if conversation.has_image:
        url = f"data:image/png;base64,{c.PIXEL}"
        image = {"type": "image_url", "image_url": {"url": url}}
        question = [{"type": "text", "text": question}, image]
    return [*said, {"role": "user", "content": question}]


def ask_openai(client: Any, conversation: Conversation, **options: Any) -> None:
    """Ask one question with an openai client (or what behaves like one)."""
    if conversation.responses:
        ask_responses(client, conversation, **options)
        return
    if conversation.second_answer:
        options["n"] = 2
    if conversation.asks_usage:
        options["stream_options"] = {"include_usage": True}
    said = messages(conversation)
    if conversation.calls_tool:
        options["tools"] = TOOLS
        first = client.chat.completions.create(model=c.MODEL, messages=said, **options)
        call = first.choices[0].message.tool_calls[0]
        said.append(
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {
                        "id": call.id,
                        "type": "function",
                        "function": {"name": c.TOOL, "arguments": call.function.arguments},
                    }
                ],
            }
        )
        said.append({"role": "tool", "tool_call_id": call.id, "content": "21"})
    if conversation.streamed:
        options["stream"] = True
    answer = client.chat.completions.create(model=c.MODEL, messages=said, **options)
    if conversation.streamed:
        read(answer, conversation)
        del answer
        # Langfuse 3 leaves the connection open until then, and httpcore, closing it within its
        # next request, would wait for itself.
        gc.collect()


def read(stream: Any, conversation: Conversation) -> None:
    """Read a stream to its end, or until enough pieces of text have come."""
    left = conversation.read
    for chunk in stream:
        if left and chunk.choices and chunk.choices[0].delta.content:
            left -= 1
            if not left:
                stream.close()
                return


def ask_responses(client: Any, conversation: Conversation, **options: Any) -> None:
    stream = conversation.streamed
    answer = client.responses.create(
        model=c.MODEL,
        instructions=c.SYSTEM,
        input=conversation.question,
        stream=stream,
        **options,
    )
    if stream:
        for _ in answer:
            pass
