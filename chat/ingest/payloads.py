"""Finds the messages in what an application sent to a model's API, and in what came back."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from chat.ingest.messages import Message

_INPUTS = ("messages", "input", "prompt", "contents", "inputs")
"""Where a request has its messages: chat completions, Responses, text completions, Google."""


class CutOff(ValueError):
    """JSON that ends in the middle, because something limits its length."""


def parsed(value: Any) -> Any:
    """The value in a JSON text; the value itself if it is no such text. Raises CutOff."""
    if not isinstance(value, str) or not value.startswith(("{", "[", '"')):
        return value
    try:
        return msgspec.json.decode(value)
    except (ValueError, RecursionError):
        if value.startswith(('{"', '[{"')):
            raise CutOff from None
        return value


def request_messages(value: Any) -> list[Message] | None:
    """The messages in a request, in whatever form; None if there are none."""
    if isinstance(value, str):
        return [{"role": "user", "content": value}]
    if isinstance(value, list):
        return _messages(value, "user")
    if not isinstance(value, Mapping):
        return None
    if "role" in value:
        return [value]
    found = next((value[name] for name in _INPUTS if value.get(name)), None)
    return None if found is None else request_messages(found)


def answer_messages(value: Any) -> list[Message] | None:
    """The messages in an answer, in whatever form; None if there are none."""
    if isinstance(value, str):
        return [{"role": "assistant", "content": value}]
    if isinstance(value, list):
        return _messages(value, "assistant")
    if not isinstance(value, Mapping):
        return None
    if isinstance(choices := value.get("choices"), list):
        return _messages([_choice(choice) for choice in choices[:1]], "assistant")
    if isinstance(output := value.get("output"), (list, str)):
        return answer_messages(output)
    if "candidates" in value and isinstance(found := value["candidates"], list):
        return _messages([one.get("content") for one in found[:1] if _is_map(one)], "assistant")
    return [value]


def _choice(choice: Any) -> Any:
    if not isinstance(choice, Mapping):
        return choice
    return choice.get("message") or choice.get("delta") or choice.get("text")


def _messages(values: Iterable[Any], role: str) -> list[Message]:
    return [
        value if isinstance(value, Mapping) else {"role": role, "content": value}
        for value in values
        if isinstance(value, (str, Mapping))
    ]


def _is_map(value: Any) -> bool:
    return isinstance(value, Mapping)
