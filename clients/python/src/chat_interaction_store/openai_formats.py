"""What OpenAI's requests and answers say: dictionaries, or the objects of its packages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from chat_interaction_store.recording import Answer, Question

_TEXTS = {"text": "text", "input_text": "text", "output_text": "text", "refusal": "refusal"}
"""The types of a part that are text, and where it is. A refusal is an answer; reasoning is not."""


def value(holder: Any, *path: str | int) -> Any:
    """Returns what is at this path of fields, keys and indexes; None if there is nothing."""
    for name in path:
        if isinstance(name, int):
            holder = holder[name] if isinstance(holder, (list, tuple)) and holder else None
        elif isinstance(holder, Mapping):
            holder = holder.get(name)
        else:
            holder = getattr(holder, name, None)
    return holder


def text(content: Any) -> str:
    """Returns the text of a message: its content itself, or that of its parts."""
    if isinstance(content, str):
        return content
    if not isinstance(content, (list, tuple)):
        return ""
    return "".join(
        part if isinstance(part, str) else _string(value(part, _TEXTS.get(value(part, "type"), "")))
        for part in content
    )


def chat_question(messages: Any) -> Question:
    """The question in the messages of a chat completion."""
    answered: list[str] = []
    for message in _reversed(messages):
        if value(message, "role") == "user":
            return Question(text(value(message, "content")) or None, tuple(answered))
        answered += _ids([value(message, "tool_call_id")])
    return Question(None, tuple(answered))


def response_question(given: Any) -> Question:
    """The question in the input of a response, which may be a text alone."""
    if isinstance(given, str):
        return Question(given or None)
    answered: list[str] = []
    for item in _reversed(given):
        if value(item, "role") == "user":
            return Question(text(value(item, "content")) or None, tuple(answered))
        if str(value(item, "type")).endswith("_output"):
            answered += _ids([value(item, "call_id")])
    return Question(None, tuple(answered))


def chat_message(message: Any) -> Answer:
    """The text and the tool calls of one message of an assistant."""
    tools = _ids(value(call, "id") for call in value(message, "tool_calls") or ())
    spoken = text(value(message, "content")) or _string(value(message, "refusal"))
    return Answer(spoken, tools=tuple(tools))


def chat_answer(completion: Any) -> Answer:
    """The first choice of a chat completion."""
    answer = chat_message(value(completion, "choices", 0, "message"))
    return with_usage(answer, completion)


def response_answer(response: Any) -> Answer:
    """The answer in a response, without its reasoning."""
    output = value(response, "output") or ()
    texts = [text(value(item, "content")) for item in output if value(item, "type") == "message"]
    tools = _ids(
        value(item, "call_id") for item in output if str(value(item, "type")).endswith("_call")
    )
    return with_usage(Answer("".join(texts), tools=tuple(tools)), response)


def with_usage(answer: Answer, holder: Any) -> Answer:
    """The same with the model and the tokens that `holder` has, under either of their names."""
    usage = value(holder, "usage")
    read = _number(value(usage, "prompt_tokens")) or _number(value(usage, "input_tokens"))
    written = _number(value(usage, "completion_tokens")) or _number(value(usage, "output_tokens"))
    return replace(
        answer,
        model=_string(value(holder, "model")) or answer.model,
        input_tokens=read or answer.input_tokens,
        output_tokens=written or answer.output_tokens,
    )


class ChatStream:
    """Puts the chunks of a chat completion together."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._tools: list[str] = []
        self._rest = Answer()

    def add(self, chunk: Any) -> None:
        """The next chunk. Only the first choice counts."""
        self._rest = with_usage(self._rest, chunk)
        for choice in value(chunk, "choices") or ():
            if not value(choice, "index"):
                delta = chat_message(value(choice, "delta"))
                self._texts.append(delta.text)
                self._tools += delta.tools

    def answer(self) -> Answer:
        """What has come so far."""
        return replace(self._rest, text="".join(self._texts), tools=tuple(self._tools))


class ResponseStream:
    """Puts the events of a response together."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._whole = Answer()

    def add(self, event: Any) -> None:
        """The next event."""
        if value(event, "type") in ("response.output_text.delta", "response.refusal.delta"):
            self._texts.append(_string(value(event, "delta")))
        elif (response := value(event, "response")) is not None:
            self._whole = response_answer(response)

    def answer(self) -> Answer:
        """The response as it was at its end or, if there was none, the text so far."""
        return replace(self._whole, text=self._whole.text or "".join(self._texts))


def _reversed(items: Any) -> Iterable[Any]:
    # What can be read only once is OpenAI's.
    return reversed(items) if isinstance(items, (list, tuple)) else ()


def _ids(found: Iterable[Any]) -> list[str]:
    return [found_id for found_id in found if isinstance(found_id, str)]


def _string(found: Any) -> str:
    return found if isinstance(found, str) else ""


def _number(found: Any) -> int:
    return found if isinstance(found, int) else 0
