"""What was said in a call, and how many tokens it took, in requests and answers of an API."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chat.ingest.messages import answer_in, question_in
from chat.ingest.payloads import CutOff, answer_messages, request_in, request_messages
from chat.ingest.reasons import Reason
from storage import limits


@dataclass(frozen=True, slots=True, repr=False)
class Exchange:
    """A question and its answer, as a `ModelCall` has them."""

    message: str
    response: str
    turn: str
    is_tool_step: bool


def exchange(request: Any, answer: Any) -> Exchange | Reason:
    """What a request asks and its answer says, or why that is not known.

    Either may be JSON text. An answer of None or without any field is none.
    """
    try:
        asked = request_messages(request_in(request))
        answered = answer_messages(answer) if answer not in (None, {}, []) else None
    except CutOff:
        return Reason.CUT
    if asked is None or answered is None:
        return Reason.NO_TEXT
    question, said = question_in(asked), answer_in(answered)
    if question is None:
        return Reason.NO_MESSAGE
    turn = question.first_tool_call or said.first_tool_call
    return Exchange(question.text, said.text, turn, said.is_tool_step)


def tokens_in(usage: Any) -> tuple[int, int]:
    """The tokens of input and output in the `usage` of an answer, 0 where it does not say."""
    if not isinstance(usage, Mapping):
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
