"""Translates what LiteLLM logs of a call: its StandardLoggingPayload (seen of release 1.110)."""

import hashlib
from collections.abc import Mapping
from typing import Any

from chat.ingest.calls import LeftOut, ModelCall, Translated
from chat.ingest.exchanges import exchange, whole
from chat.ingest.moments import from_epoch
from chat.ingest.reasons import Reason
from storage import limits

CALL_TYPES = frozenset(
    {
        "completion",
        "acompletion",
        "text_completion",
        "atext_completion",
        "responses",
        "aresponses",
        "anthropic_messages",
        "aanthropic_messages",
    }
)
"""The values of `call_type` in which a model answers a message. Others are embeddings, images,
files, health checks and so on."""

NO_USERS = ("", "default_user_id")
"""What the proxy says of calls with the master key."""

REDACTED = "redacted-by-litellm"
CUT = "truncated by litellm, this logger does not support large content"
"""How a text ends that a logger of LiteLLM has cut."""


def translate(record: Any, place: str) -> Translated:
    """The call in a record, or why there is none."""
    if not isinstance(record, Mapping):
        return LeftOut(Reason.INVALID, "A record must be an object of JSON.", place)
    if (_text(record.get("call_type", "completion")) or "?") not in CALL_TYPES:
        return LeftOut(Reason.NO_CALL, place=place)
    if record.get("status", "success") != "success":
        return LeftOut(Reason.FAILED, place=place)
    call_id = _call_id(record)
    if not call_id:
        return LeftOut(Reason.INVALID, "It has no litellm_call_id.", place)
    started_at, ended_at = from_epoch(record.get("startTime")), from_epoch(record.get("endTime"))
    if started_at is None:
        return LeftOut(Reason.INVALID, "startTime must be in seconds since 1970.", place)
    said = exchange(record.get("messages"), record.get("response"))
    if isinstance(said, Reason):
        return LeftOut(said, place=place)
    texts = (said.message, said.response)
    if any(text.endswith(CUT) for text in texts):
        return LeftOut(Reason.CUT, place=place)
    if any(text and not text.replace(REDACTED, "").strip() for text in texts):
        return LeftOut(Reason.REDACTED, place=place)
    return ModelCall(
        call_id=call_id,
        user_id=_user(record),
        message=said.message,
        response=said.response,
        model=_model(record),
        started_at=started_at,
        ended_at=ended_at or started_at,
        input_tokens=whole(record.get("prompt_tokens")),
        output_tokens=whole(record.get("completion_tokens")),
        turn=said.turn,
        is_tool_step=said.is_tool_step,
        place=place,
    )


def _call_id(record: Mapping[str, Any]) -> str:
    """The id of the call. That of the answer comes again with each hit of LiteLLM's cache."""
    call_id = _text(record.get("litellm_call_id")) or _text(record.get("id"))
    if len(call_id) <= limits.IDENTIFIER_MAX_LENGTH:
        return call_id
    return f"litellm-{hashlib.sha256(call_id.encode(errors='surrogatepass')).hexdigest()}"


def _user(record: Mapping[str, Any]) -> str | None:
    """Whose call it is: the proxy knows it as the end user, and the library as a parameter."""
    parameters, metadata = _mapping(record, "model_parameters"), _mapping(record, "metadata")
    named = (
        record.get("end_user"),
        parameters.get("user"),
        metadata.get("user_api_key_end_user_id"),
        metadata.get("user_api_key_user_id"),
    )
    return next((user for user in map(_text, named) if user not in NO_USERS), None)


def _model(record: Mapping[str, Any]) -> str:
    """The model that answered. Of a streamed chat, LiteLLM knows only what was asked for.

    The proxy's name of that one is the group; its `model` has the provider's name in front.
    """
    response = _mapping(record, "response")
    is_known = not record.get("stream") or response.get("object") == "response"
    answered = _text(response.get("model")) if is_known else ""
    return answered or _text(record.get("model_group")) or _text(record.get("model"))


def _mapping(record: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = record.get(name)
    return found if isinstance(found, Mapping) else {}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
