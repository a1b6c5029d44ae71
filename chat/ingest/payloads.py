"""Finds the messages in what an application sent to a model's API, and in what came back.

A tool may have either as JSON, or as a bare text, which may happen to be JSON as well: a text that
is not as an API has it counts as it stands.
"""

from collections.abc import Sequence
from typing import Any

from chat.ingest import json_records
from chat.ingest.messages import Message

INPUTS = ("messages", "input", "prompt", "contents")
"""Where a request has its messages: chat completions, Responses, text completions, Google."""

ITEM_TYPES = frozenset({"message", "reasoning", "function_call", "function_call_output"})
"""Types of what the Responses API has in a list; some of these have no role."""


class CutOff(ValueError):
    """JSON that ends in the middle, because something limits its length."""


def decoded(value: Any) -> Any:
    """The object or list in a JSON text; the value itself if it is no such text. Raises CutOff."""
    if not isinstance(value, str) or not value.startswith(("{", "[")):
        return value
    try:
        return json_records.decoded(value)
    except (ValueError, RecursionError):
        if value.startswith(('{"', '[{"')):
            raise CutOff from None
        return value


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
    if isinstance(answer, list):
        return _messages(answer if all(map(_is_item, answer)) else value, "assistant")
    if isinstance(choices := _field(answer, "choices"), list):
        return _messages([_of_choice(choice) for choice in choices[:1]], "assistant")
    if isinstance(candidates := _field(answer, "candidates"), list):
        return _messages([_field(one, "content") for one in candidates[:1]], "assistant")
    if isinstance(output := _field(answer, "output"), list):
        return _messages(output, "assistant")
    return _messages(answer if _is_item(answer) else value, "assistant")


def _is_request(value: Any) -> bool:
    if isinstance(value, list):
        return all(map(_is_item, value))
    return _is_item(value) or any(_field(value, name) for name in INPUTS)


def _is_item(value: Any) -> bool:
    """Whether it is a message, or what the Responses API has among messages."""
    of_item = _field(value, "type")
    return _field(value, "role") is not None or (isinstance(of_item, str) and of_item in ITEM_TYPES)


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
