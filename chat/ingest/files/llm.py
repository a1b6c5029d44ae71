"""Reads the output of `llm logs --json -n 0` (seen of llm 0.36, also for entries of 0.28)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any

from chat.ingest.calls import LeftOut, ModelCall, Translated
from chat.ingest.exchanges import whole
from chat.ingest.files.entries import entries
from chat.ingest.messages import answer_in
from chat.ingest.moments import from_text, later
from chat.ingest.payloads import answer_messages
from chat.ingest.reasons import Reason

OPEN_TURNS = 10_000
"""Conversations of which a turn is remembered that has called tools and is not answered yet."""


FRAGMENTS_CUT = "Its question is in fragments that were cut off: add --expand to llm logs --json."


@dataclass(slots=True)
class _Turn:
    """A question that the model answers by way of tools, and the tokens of its steps."""

    question: str
    input_tokens: int = 0
    output_tokens: int = 0


def read(file: IO[bytes], user_id: str | None) -> Iterator[Translated]:
    """The calls in a file. Raises BrokenFile."""
    turns = _Turns()
    for found in entries(file):
        if isinstance(found, LeftOut):
            yield found
        else:
            place, entry = found
            yield _call(entry, place, user_id, turns)


def _call(entry: Any, place: str, user_id: str | None, turns: "_Turns") -> Translated:
    if not isinstance(entry, dict) or not isinstance(entry.get("id"), str):
        return LeftOut(Reason.INVALID, "It is no entry of llm logs --json: it has no id.", place)
    started_at = from_text(entry.get("datetime_utc"))
    if started_at is None:
        return LeftOut(Reason.INVALID, "datetime_utc must be a date and time.", place)
    turn = turns.of(entry)
    if turn is None:
        return LeftOut(
            Reason.NO_MESSAGE, "It answers tools, and the question is not in the file.", place
        )
    if not turn.question and (fragments := _fragments(entry)):
        if any(map(_is_cut, fragments)):
            return LeftOut(Reason.NO_MESSAGE, FRAGMENTS_CUT, place)
        turn.question = "\n".join(fragments)
    response = entry.get("response")
    if not response:  # of a refusal, llm has only what the model sent
        response = _refusal(entry.get("response_json")) or response
    input_tokens = whole(entry.get("input_tokens"))
    output_tokens = whole(entry.get("output_tokens"))
    if entry.get("tool_calls"):
        turns.go_on(entry, turn)
        if not response:
            turn.input_tokens += input_tokens
            turn.output_tokens += output_tokens
            return LeftOut(Reason.TOOL_STEP, place=place)
    call = ModelCall(
        call_id=entry["id"],
        user_id=user_id,
        message=turn.question,
        response=response if isinstance(response, str) else None,
        model=_model(entry),
        started_at=started_at,
        ended_at=later(started_at, entry.get("duration_ms")),
        input_tokens=input_tokens + turn.input_tokens,
        output_tokens=output_tokens + turn.output_tokens,
        place=place,
    )
    turn.input_tokens = turn.output_tokens = 0
    return call


def _fragments(entry: dict[str, Any]) -> list[str]:
    """What llm up to 0.31 does not have in the prompt, too."""
    listed = entry.get("prompt_fragments")
    contents = [
        fragment.get("content")
        for fragment in (listed if isinstance(listed, list) else [])
        if isinstance(fragment, dict)
    ]
    return [content for content in contents if isinstance(content, str)]


def _is_cut(fragment: str) -> bool:
    return len(fragment) == 100 and fragment.endswith("...")


def _refusal(answered: Any) -> str:
    """What is in the whole answer. Only that of a call that was not streamed is there."""
    if not isinstance(answered, dict):
        return ""
    return answer_in(answer_messages(answered) or ()).text


def _model(entry: dict[str, Any]) -> str:
    answered = entry.get("response_json")
    named = answered.get("model") if isinstance(answered, dict) else None
    for model in (named, entry.get("resolved_model"), entry.get("model")):
        if model and isinstance(model, str):
            return model
    return ""


class _Turns:
    """The turns that are not answered yet, by conversation. The oldest is forgotten first."""

    def __init__(self) -> None:
        self._open: dict[str, _Turn] = {}

    def of(self, entry: dict[str, Any]) -> _Turn | None:
        """The turn of an entry. None if it answers tools, and what came before is not known."""
        prompt = entry.get("prompt")
        known = self._open.pop(_conversation(entry), None)
        if prompt or not entry.get("tool_results"):
            return _Turn(prompt if isinstance(prompt, str) else "")
        return known

    def go_on(self, entry: dict[str, Any], turn: _Turn) -> None:
        """Remember a turn, because its tools are called next."""
        if len(self._open) >= OPEN_TURNS:
            del self._open[next(iter(self._open))]
        self._open[_conversation(entry)] = turn


def _conversation(entry: dict[str, Any]) -> str:
    found = entry.get("conversation_id")
    return found if isinstance(found, str) else ""
