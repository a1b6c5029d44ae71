"""Finds what the user asked and what the model answered, in messages of any of the usual forms.

A message is a dictionary: with `content`, a text or a list of parts, as OpenAI and Anthropic have
it; or with `parts`, as in OpenTelemetry's semantic conventions and Google's API.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Message = Mapping[str, Any]

USER_ROLES = frozenset({"user", "human"})

TEXT_TYPES = frozenset({"text", "input_text", "output_text", "refusal"})
"""Parts of a message that are text. Others are images, reasoning, calls of tools."""

TOOL_CALL_TYPES = frozenset({"tool_call", "tool_use", "function_call"})
TOOL_RESULT_TYPES = frozenset({"tool_call_response", "tool_result", "function_call_output"})


@dataclass(frozen=True, slots=True, repr=False)
class Question:
    """What a model was asked."""

    text: str
    """Of the last message of a user; empty if that has an image only."""
    first_tool_call: str
    """The id of the first tool call after it, or empty."""


@dataclass(frozen=True, slots=True, repr=False)
class Answer:
    """What a model answered."""

    text: str
    """Of the first choice. A refusal counts as text, and reasoning does not."""
    first_tool_call: str
    is_tool_step: bool
    """Whether it only calls tools."""


def question_in(messages: Sequence[Message]) -> Question | None:
    """What the last message of a user asks, or None if there is no such message, or it is empty."""
    first_tool_call = ""
    for message in reversed(messages):
        if _is_question(message):
            text = text_of(message, "\n")
            return Question(text, first_tool_call) if text or _parts(message) else None
        first_tool_call = next(iter(_tool_calls(message)), first_tool_call)
    return None


def answer_in(messages: Sequence[Message]) -> Answer:
    """The answer of the first choice. An API that answers in several messages has one choice."""
    calls = [call for message in messages for call in _tool_calls(message)]
    text = next(filter(None, (text_of(message) for message in messages)), "")
    return Answer(text, calls[0] if calls else "", bool(calls) and not text)


def text_of(message: Message, between: str = "") -> str:
    """The text of a message, whose parts are joined by `between`."""
    content = _parts(message)
    if isinstance(content, dict):
        content = [content]
    if isinstance(content, list):
        texts = [text for part in content if (text := _text_of_part(part)) is not None]
        content = between.join(texts)
    if not content:
        content = message.get("refusal")
    return content if isinstance(content, str) else ""


def _parts(message: Message) -> Any:
    """The content of a message: a text or a list of parts."""
    return message.get("parts") or message.get("content")


def _text_of_part(part: Any) -> str | None:
    if isinstance(part, str):
        return part
    if not isinstance(part, dict) or part.get("thought"):
        return None
    if "type" in part and not _is_one(part["type"], TEXT_TYPES):
        return None
    for name in ("text", "content", "refusal"):
        if isinstance(text := part.get(name), str):
            return text
    return None


def _is_question(message: Message) -> bool:
    """Whether a user says something. Anthropic's API has results of tools as the user's, too."""
    if not _is_one(message.get("role"), USER_ROLES):
        return False
    parts = _parts(message)
    if not isinstance(parts, list) or not parts:
        return True
    return not all(_has_type(part, TOOL_RESULT_TYPES) for part in parts)


def _tool_calls(message: Message) -> list[str]:
    """The ids of the tools that a message calls; `?` for one without."""
    calls: list[Any] = []
    if isinstance(listed := message.get("tool_calls"), list):
        calls += listed
    for name in ("parts", "content"):
        if isinstance(parts := message.get(name), list):
            calls += [part for part in parts if _has_type(part, TOOL_CALL_TYPES)]
    if _has_type(message, TOOL_CALL_TYPES) or isinstance(message.get("function_call"), dict):
        calls.append(message)
    return [_id(call) for call in calls]


def _has_type(part: Any, types: Collection[str]) -> bool:
    return isinstance(part, dict) and _is_one(part.get("type"), types)


def _is_one(value: Any, values: Collection[str]) -> bool:
    """Whether it is one of the texts. A client can send anything, also what has no hash."""
    return isinstance(value, str) and value in values


def _id(call: Any) -> str:
    found = (call.get("call_id") or call.get("id")) if isinstance(call, dict) else None
    return found if isinstance(found, str) else "?"
