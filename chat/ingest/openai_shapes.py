"""Finds the texts in requests and answers of OpenAI's API, which many tools log as they are.

Also in the shapes that come close: Anthropic's messages, and what Langfuse makes of LangChain's.
What is in no such shape is passed over. Nothing here raises, whatever it is given.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from storage import limits

_TEXT_PARTS = ("text", "input_text", "output_text")
_USERS = ("user", "human")
_ASSISTANTS = ("assistant", "ai", "AIMessageChunk")


@dataclass(frozen=True, slots=True, repr=False)
class Question:
    """The last message of the user. `text` is None if there is none."""

    text: str | None = None
    tool_call: str = ""
    """The id of the first tool call after it, if an agent is at work."""


@dataclass(frozen=True, slots=True, repr=False)
class Answer:
    """The first choice of an answer. `text` is None if there is none, and empty if it is empty."""

    text: str | None = None
    tool_call: str = ""
    """The id of the first tool that it calls."""
    calls_tools: bool = False

    @property
    def is_tool_step(self) -> bool:
        """Whether it only calls tools."""
        return self.calls_tools and not self.text


def question(request: Any) -> Question:
    """The question in a prompt, in messages, or in a request that has one of these."""
    if isinstance(request, dict):
        named = (request[name] for name in ("messages", "input", "prompt") if name in request)
        request = next(named, [request])
    if isinstance(request, str):
        return Question(request)
    messages = _list(request)
    if messages and isinstance(messages[0], str):
        return Question(messages[0])  # prompts; the first choice answers the first of them
    tool_call = ""
    for message in reversed(messages):
        if not isinstance(message, dict):
            continue
        if _is_from(_USERS, message) and not _has_tool_results(message):
            return Question(text_of(message.get("content")), tool_call)
        tool_call = _tool_call(message) or tool_call
    return Question()


def answer(response: Any) -> Answer:
    """The first choice in an answer, in a message, or in a list of messages."""
    if isinstance(response, dict):
        if choices := _list(response.get("choices")):
            return _choice(choices[0])
        response = response.get("output", [response])
    if isinstance(response, str):
        return Answer(response)
    items = [_item(item) for item in _list(response) if not _is_passed_over(item)]
    texts = [item.text for item in items if item.text is not None]
    return Answer(
        "\n".join(filter(None, texts)) if texts else None,
        next((item.tool_call for item in items if item.tool_call), ""),
        any(item.calls_tools for item in items),
    )


def tokens(usage: Any) -> tuple[int, int]:
    """The tokens of input and output in the `usage` of an answer, 0 where it does not say."""
    if not isinstance(usage, dict):
        return 0, 0
    return (
        whole(usage.get("prompt_tokens") or usage.get("input_tokens")),
        whole(usage.get("completion_tokens") or usage.get("output_tokens")),
    )


def whole(value: Any) -> int:
    """A count of tokens; 0 if it is none."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if type(value) is int and 0 <= value <= limits.TOKENS_MAX else 0


def text_of(content: Any) -> str | None:
    """The text in the content of a message, which may have several parts. None if it has none.

    It is empty if all parts are others, such as images.
    """
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "\n".join(text for part in content if (text := _text_of_part(part)))
    return None


def _text_of_part(part: Any) -> str | None:
    if isinstance(part, str):
        return part
    if not isinstance(part, dict):
        return None
    if part.get("type") == "refusal":
        return _string(part.get("refusal"))
    return _string(part.get("text")) if part.get("type", "text") in _TEXT_PARTS else None


def _choice(choice: Any) -> Answer:
    if isinstance(choice, dict) and isinstance(choice.get("message"), dict):
        return _message(choice["message"])
    return _item(choice)


def _item(item: Any) -> Answer:
    if isinstance(item, str):
        return Answer(item)
    return _message(item) if isinstance(item, dict) else Answer()


def _message(message: dict[str, Any]) -> Answer:
    content = message.get("content")
    text = text_of(content) or _string(message.get("refusal")) or _string(message.get("text"))
    if text is None and "content" in message:
        text = ""
    calls_tools = bool(
        message.get("tool_calls")
        or message.get("function_call")
        or _type_of(message) == "function_call"
        or any(_type_of(part) == "tool_use" for part in _list(content))
    )
    return Answer(text, _tool_call(message), calls_tools)


def _is_passed_over(item: Any) -> bool:
    """Whether it says nothing: reasoning, or a message of somebody else."""
    if _type_of(item) == "reasoning":
        return True
    return isinstance(item, dict) and "role" in item and not _is_from(_ASSISTANTS, item)


def _is_from(names: tuple[str, ...], message: Mapping[str, Any]) -> bool:
    return message.get("role", message.get("type")) in names


def _has_tool_results(message: Mapping[str, Any]) -> bool:
    """Whether it is none of the user's: Anthropic sends results of tools in their name."""
    return any(_type_of(part) == "tool_result" for part in _list(message.get("content")))


def _tool_call(message: Mapping[str, Any]) -> str:
    """The id of the first tool call that a message makes or answers; empty if there is none."""
    content = _list(message.get("content"))
    named = [
        message.get("tool_call_id"),
        message.get("call_id"),
        *(_get(call, "id") for call in _list(message.get("tool_calls"))),
        *(_get(part, "id") for part in content if _type_of(part) == "tool_use"),
        *(_get(part, "tool_use_id") for part in content),
    ]
    return next((name for name in named if name and isinstance(name, str)), "")


def _get(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None


def _type_of(part: Any) -> Any:
    return _get(part, "type")


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _string(value: Any) -> str | None:
    return value if isinstance(value, str) else None
