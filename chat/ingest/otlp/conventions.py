"""Finds the call of a model in a span, whoever has made the span."""

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from chat.ingest.calls import LeftOut, ModelCall, Translated
from chat.ingest.messages import Answer, Message, Question, answer_in, question_in
from chat.ingest.otlp import attributes as names
from chat.ingest.otlp.attributes import Names, first
from chat.ingest.otlp.spans import Attributes, Span
from chat.ingest.payloads import (
    CutOff,
    answer_messages,
    decoded,
    request_in,
    request_messages,
)
from chat.ingest.reasons import Reason
from storage import limits

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

NANOSECONDS_MAX = 253_402_300_800 * 10**9
"""The end of the year 9999."""


def calls(spans: Iterable[Span | LeftOut]) -> Iterator[Translated]:
    """The calls in some spans that came together, and what is no call or lacks something."""
    found: list[tuple[ModelCall | LeftOut, str, str]] = []  # no span: most of one is history
    users: defaultdict[str, set[str]] = defaultdict(set)
    for span in spans:
        if isinstance(span, LeftOut):
            yield span
            continue
        if user := _user(span):
            users[span.trace_id].add(user)
        if (left_out := _no_call(span)) is not None:
            yield left_out
        else:
            found.append((_call(span), _response_id(span), span.trace_id))
    told = {answer for one, answer, _ in found if answer and not _has_no_text(one)}
    for one, answer, trace in found:
        if _has_no_text(one) and answer in told:
            # Anthropic's SDK has a span of its own, inside that of an instrumentation.
            yield LeftOut(Reason.NO_CALL, place=one.place)
        elif isinstance(one, ModelCall) and one.user_id is None:
            yield replace(one, user_id=_only(users[trace]))
        else:
            yield one


def _no_call(span: Span) -> LeftOut | None:
    """Why it is none, or None if it is one."""
    if span.event == names.TEXT_EVENT:
        return LeftOut(Reason.TEXT_APART, place=span.span_id)
    return None if _is_call(span.attributes) else LeftOut(Reason.NO_CALL, place=span.span_id)


def _is_call(attributes: Attributes) -> bool:
    operation = _text(attributes.get(names.OPERATION))
    if operation:
        return operation in names.OPERATIONS
    if request_type := _text(attributes.get(names.REQUEST_TYPE)):
        return request_type in names.REQUEST_TYPES
    return (
        attributes.get(names.OPENINFERENCE_KIND) == "LLM"
        or attributes.get(names.LANGFUSE_TYPE) == "generation"
        or _text(attributes.get(names.MLFLOW_TYPE)) in names.MLFLOW_TYPES
        or names.FIRST_ROLE in attributes
    )


def _has_no_text(one: Translated) -> bool:
    return isinstance(one, LeftOut) and one.reason is Reason.NO_TEXT


def _response_id(span: Span) -> str:
    return _text(span.attributes.get(names.RESPONSE_ID))


def _only(users: set[str]) -> str | None:
    """The user of a trace, such as the one that only its first span names; None if in doubt."""
    return next(iter(users)) if len(users) == 1 else None


def _call(span: Span) -> ModelCall | LeftOut:
    if detail := _flaw(span):
        reason = Reason.NO_END if span.ended == 0 else Reason.INVALID
        return LeftOut(reason, detail, span.span_id)
    for _, attributes in span.events:
        span.attributes = attributes | span.attributes
    try:
        return _told(span)
    except CutOff:
        return LeftOut(Reason.CUT, place=span.span_id)
    except RecursionError:
        return LeftOut(Reason.INVALID, "It is nested too deeply.", span.span_id)


_HEX = re.compile(r"[0-9a-f]+")


def _flaw(span: Span) -> str:
    """What is wrong with its ids and times, as a sentence; empty if nothing is."""
    for name, value, length in (
        ("trace id", span.trace_id, 32),
        ("span id", span.span_id, 16),
    ):
        if len(value) != length or not _HEX.fullmatch(value) or not value.strip("0"):
            return f"The {name} must be {length // 2} bytes (in JSON, {length} hexadecimal digits)."
    if not 0 < span.started < NANOSECONDS_MAX or not 0 < span.ended < NANOSECONDS_MAX:
        return "Its start and its end must be nanoseconds since 1970."
    return ""


def _told(span: Span) -> ModelCall | LeftOut:
    asked, request = _asked(span.attributes)
    answer = _answer(span.attributes)
    if (reason := _lacking(span, asked, answer)) is not None:
        return LeftOut(reason, place=span.span_id)
    question = question_in(asked or ())
    if question is None:
        reason = Reason.CUT if span.dropped else Reason.NO_MESSAGE
        return LeftOut(reason, place=span.span_id)
    if max(len(question.text), len(answer.text if answer else "")) >= _length_limit(span):
        raise CutOff
    return _model_call(span, request, question, answer or Answer("", "", False))


def _lacking(span: Span, asked: Sequence[Message] | None, answer: Answer | None) -> Reason | None:
    """What is missing. A call that went well and said nothing has an empty answer."""
    failed = span.failed or span.attributes.get(names.ERROR)
    if failed and (answer is None or not answer.text):
        return Reason.FAILED
    if span.dropped and not (asked and answer):
        return Reason.CUT
    return Reason.NO_TEXT if not asked and answer is None else None


def _length_limit(span: Span) -> float:
    """The limit of the SDK for the length of a value, if one of OpenInference's shows it."""
    for name in (names.REQUEST, names.ANSWER):
        value = span.attributes.get(name)
        if isinstance(value, str) and value.startswith("{") and not value.endswith("}"):
            return len(value)
    return math.inf


def _model_call(span: Span, request: Any, question: Question, answer: Answer) -> ModelCall:
    attributes = span.attributes
    usage = decoded(first(attributes, names.USAGE))
    return ModelCall(
        call_id=f"otel-{span.trace_id}-{span.span_id}",
        user_id=_user(span) or _user_in_request(attributes, request),
        message=question.text,
        response=answer.text,
        model=_text(first(attributes, names.MODEL)),
        started_at=EPOCH + timedelta(microseconds=span.started // 1000),
        ended_at=EPOCH + timedelta(microseconds=span.ended // 1000),
        input_tokens=_tokens(attributes, names.INPUT_TOKENS, usage, names.USAGE_INPUT),
        output_tokens=_tokens(attributes, names.OUTPUT_TOKENS, usage, names.USAGE_OUTPUT),
        turn=question.first_tool_call or answer.first_tool_call,
        is_tool_step=answer.is_tool_step,
        place=span.span_id,
    )


def _asked(attributes: Attributes) -> tuple[Sequence[Message] | None, Any]:
    """The messages to the model, and the whole request if there is one. Raises CutOff."""
    request = request_in(first(attributes, names.INPUT))
    asked: Sequence[Message] | None = request_messages(request)
    if asked is None:
        asked = _listed(attributes, names.INPUT_LISTS)
    if asked is None:
        request = request_in(attributes.get(names.REQUEST))
        asked = request_messages(request)
    return asked, request


def _answer(attributes: Attributes) -> Answer | None:
    """What the model said. Raises CutOff."""
    answered: Sequence[Message] | None = answer_messages(first(attributes, names.OUTPUT))
    if answered is None:
        answered = _listed(attributes, names.OUTPUT_LISTS)
    answer = answer_in(answered) if answered else None
    if answer is None or not answer.text:  # OpenInference has a refusal in the whole answer only
        answered = answer_messages(attributes.get(names.ANSWER))
        answer = answer_in(answered) if answered else answer
    return answer


def _user(span: Span) -> str | None:
    return _name(first(span.attributes, names.USER) or first(span.resource, names.USER))


def _user_in_request(attributes: Attributes, request: Any) -> str | None:
    if not isinstance(request, dict):
        with suppress(CutOff):
            request = decoded(attributes.get(names.REQUEST))
    return _name(request.get("user")) if isinstance(request, dict) else None


def _name(value: Any) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return _text(value) or None


def _text(value: Any) -> str:
    """A text. MLflow has each as JSON."""
    if isinstance(value, str) and value.startswith('"'):
        with suppress(ValueError):
            value = msgspec.json.decode(value)
    return value if isinstance(value, str) else ""


def _tokens(attributes: Attributes, tables: Names, usage: Any, fields: Sequence[str]) -> int:
    value = first(attributes, tables)
    if value is None and isinstance(usage, dict):
        value = next((usage[name] for name in fields if usage.get(name)), None)
    if isinstance(value, str) and value.isdecimal() and len(value) < 20:
        value = int(value)
    return int(value) if isinstance(value, (int, float)) and 0 <= value <= limits.TOKENS_MAX else 0


_FIELD = re.compile(
    r"(?P<message>\d{1,6})\.(message\.)?(?P<field>role|content|refusal"
    r"|contents\.(?P<part>\d{1,6})\.message_content\.(?P<of_part>type|text)"
    r"|tool_calls\.(?P<call>\d{1,6})\.(tool_call\.)?id)"
)
"""What follows the beginning of a name in INPUT_LISTS and OUTPUT_LISTS."""


PARTS = '[{"type"'
"""How the content begins that Traceloop up to 0.52 has as JSON, because it has several parts."""


def _listed(attributes: Attributes, tables: Names) -> Sequence[Message] | None:
    """The messages that are spread over attributes, one for each field, in their order."""
    messages: defaultdict[int, dict[str, Any]] = defaultdict(dict)
    for beginning in tables:
        for name, value in attributes.items():
            if name.startswith(beginning):
                found = _FIELD.fullmatch(name, len(beginning))
                if found is not None:
                    _set(messages[int(found["message"])], found, value)
    if not messages:
        return None
    return [_joined(messages[number]) for number in sorted(messages)]


def _set(message: dict[str, Any], found: re.Match[str], value: Any) -> None:
    if found["part"] is not None:
        part = message.setdefault("parts", {}).setdefault(int(found["part"]), {})
        part[found["of_part"]] = value
    elif found["call"] is not None:
        message.setdefault("tool_calls", []).append({"id": value})
    else:
        message[found["field"]] = value


def _joined(message: dict[str, Any]) -> Message:
    if parts := message.pop("parts", None):
        message["content"] = [parts[number] for number in sorted(parts)]
    elif isinstance(content := message.get("content"), str) and content.startswith(PARTS):
        message["content"] = decoded(content)
    return message
