"""Finds the messages in what an application sent to a model's API, and in what came back.

A tool may have either as JSON, or as a bare text, which may happen to be JSON as well: a text that
is not as an API has it counts as it stands.
"""

import json
from collections.abc import Collection, Sequence
from typing import Any

from chat.ingest import json_records
from chat.ingest.messages import TEXT_TYPES, TOOL_CALL_TYPES, Message

INPUTS = ("messages", "input", "prompt", "contents")
"""Where a request has its messages: chat completions, Responses, text completions, Google."""

ITEM_TYPES = frozenset({"message", "reasoning", "function_call", "function_call_output"})
"""Types of what the Responses API has in a list; some of these have no role."""

SAID = frozenset(
    {"content", "parts", "tool_calls", "function_call", "refusal", "reasoning_content", "audio"}
)
"""Fields of a message with what is said in it. One may have them without text."""

TEXTS = frozenset({"text", "content", "refusal"})
"""Where a part of a message has its text."""

LISTS = {
    "choices": frozenset({"message", "text", "delta", "finish_reason"}),
    "candidates": frozenset({"content", "finishReason", "finish_reason"}),
    "output": frozenset({"type", "role"}),
}
"""Where an answer has its messages, and fields of which each of these has one."""

_WHOLE = json.JSONDecoder(strict=False)


class CutOff(ValueError):
    """JSON that ends in the middle, because something limits its length."""


def decoded(value: Any) -> Any:
    """The object or list in a JSON text; the value itself if it is no such text. Raises CutOff."""
    if not isinstance(value, str) or not value.startswith(("{", "[")):
        return value
    try:
        return json_records.decoded(value)
    except (ValueError, RecursionError):
        if value.startswith(('{"', '[{"')) and not _begins_with_json(value):
            raise CutOff from None
        return value


def _begins_with_json(text: str) -> bool:
    """Whether it has a whole value, and something behind it, such as lines of JSON."""
    try:
        _WHOLE.raw_decode(text)
    except (ValueError, RecursionError):
        return False
    return True


def request_in(value: Any) -> Any:
    """The request, or the messages of one, in an attribute or field. Raises CutOff."""
    found = decoded(value)
    return found if _is_request(found) else value


def request_messages(request: Any) -> list[Message] | None:
    """The messages in a request, in whatever form; None if there are none."""
    if isinstance(request, dict) and "role" not in request:
        request = next((found for name in INPUTS if (found := request.get(name))), None)
    return _messages(request, "user")


def answer_messages(value: Any) -> list[Message] | None:
    """The messages of an answer in an attribute or field; None if there are none. Raises CutOff."""
    answer = decoded(value)
    if is_answer(answer):
        return _messages(_of_answer(answer), "assistant")
    return _messages(value, "assistant")


def is_answer(value: Any) -> bool:
    """Whether an API answers so. JSON that a model was asked for may have some of the names."""
    if isinstance(value, list):
        return not value or _are_items(value) or _are_parts(value)
    for name, fields in LISTS.items():
        if (listed := _field(value, name)) is not None:
            return _have_any(listed, fields)
    return _is_item(value) and _says(value)


def _of_answer(answer: Any) -> Any:
    """What is said in an answer of an API: a message, or a list of them."""
    if isinstance(answer, list):
        is_content = bool(answer) and not _are_items(answer)
        return [{"role": "assistant", "content": answer}] if is_content else answer
    if (choices := _field(answer, "choices")) is not None:
        return [_of_choice(choice) for choice in choices[:1]]
    if (candidates := _field(answer, "candidates")) is not None:
        return [_field(one, "content") for one in candidates[:1]]
    return answer.get("output") or answer


def _have_any(values: Any, fields: Collection[str]) -> bool:
    """Whether it is a list of objects that each have one of these fields."""
    return isinstance(values, list) and all(
        isinstance(value, dict) and not value.keys().isdisjoint(fields) for value in values
    )


def _are_items(values: Sequence[Any]) -> bool:
    """Whether it is a list of messages, and of what else an API has among these."""
    is_known = [_is_item(value) and _says(value) for value in values]
    return any(is_known) and all(map(_has_kind, values))


def _are_parts(values: Sequence[Any]) -> bool:
    """Whether it is what a message says, without the message."""
    types = [_field(value, "type") for value in values]
    return all(isinstance(one, str) for one in types) and any(
        one in TOOL_CALL_TYPES or (one in TEXT_TYPES and not value.keys().isdisjoint(TEXTS))
        for one, value in zip(types, values, strict=True)
    )


def _has_kind(value: Any) -> bool:
    return _field(value, "role") is not None or isinstance(_field(value, "type"), str)


def _says(item: Message) -> bool:
    """Whether there is something said, or would be, in what has a role or a type."""
    is_bare = item.keys() == {"role"}
    return is_bare or _has_type(item) or not item.keys().isdisjoint(SAID)


def _is_request(value: Any) -> bool:
    if isinstance(value, list):
        return not value or _are_items(value)
    is_message = _is_item(value) and _says(value)
    return is_message or any(_field(value, name) for name in INPUTS)


def _is_item(value: Any) -> bool:
    """Whether it is a message, or what the Responses API has among messages."""
    return _field(value, "role") is not None or _has_type(value)


def _has_type(value: Any) -> bool:
    of_item = _field(value, "type")
    return isinstance(of_item, str) and of_item in ITEM_TYPES


def _of_choice(choice: Any) -> Any:
    return _field(choice, "message") or _field(choice, "text")


def _field(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None


def _messages(value: Any, role: str) -> list[Message] | None:
    if isinstance(value, (str, dict)):
        value = [value]
    if not isinstance(value, list):
        return None
    return _with_roles(value, role)


def _with_roles(values: Sequence[Any], role: str) -> list[Message]:
    return [
        value if isinstance(value, dict) else {"role": role, "content": value}
        for value in values
        if isinstance(value, (str, dict))
    ]
