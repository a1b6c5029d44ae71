"""Makes interactions of the calls of models, by rules that are the same for every format."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC

from chat.ingest.calls import LeftOut, ModelCall, Translated
from chat.ingest.reasons import Reason
from storage import expiry
from storage.models import ChatInteraction

REDACTION_MARKS = frozenset({"redacted-by-litellm", "__REDACTED__"})
"""What LiteLLM 1.110 and OpenInference 0.1.66 send instead of a text."""

Made = tuple[ModelCall, ChatInteraction]


def interactions(translated: Iterable[Translated], user_id: str | None) -> Iterator[Made | LeftOut]:
    """Yields an interaction for each call that can be stored, and what is left out.

    `user_id` is that of a key that is bound to a user, whatever the calls say. What belongs
    together has to come together: steps of an agent give their tokens to the answer they led to.
    """
    calls: list[ModelCall] = []
    for one in translated:
        if isinstance(one, LeftOut):
            yield one
        else:
            calls.append(one if user_id is None else replace(one, user_id=user_id))
    for call in with_tokens_of_steps(calls):
        yield _made(call)


def with_tokens_of_steps(calls: Sequence[ModelCall]) -> Iterator[ModelCall]:
    """The calls. Those that end a turn have the tokens of its steps, too."""
    steps = defaultdict(list)
    for call in calls:
        if call.is_tool_step and call.turn:
            steps[_turn(call)].append(call)
    if not steps:
        yield from calls
        return
    for call in sorted(calls, key=lambda call: call.started_at):
        if call.is_tool_step or not call.turn:
            yield call
            continue
        open_steps = steps[_turn(call)]
        earlier = [step for step in open_steps if step.started_at <= call.started_at]
        # The next answer of the same turn, such as one that was asked for again, gets none.
        open_steps[:] = [step for step in open_steps if step.started_at > call.started_at]
        yield replace(
            call,
            input_tokens=call.input_tokens + sum(step.input_tokens for step in earlier),
            output_tokens=call.output_tokens + sum(step.output_tokens for step in earlier),
        )


def _turn(call: ModelCall) -> tuple[str, str | None, str | None]:
    """Tools count their calls anew in each process, so the id of a turn alone is not enough."""
    return call.turn, call.user_id, call.message


def _made(call: ModelCall) -> Made | LeftOut:
    reason = _reason_against(call)
    if reason is not None:
        return LeftOut(reason, place=call.place)
    interaction = _interaction(call)
    problems = interaction.violations()
    for name in ("created_at", "updated_at"):
        if ahead := expiry.ahead_violation(getattr(interaction, name)):
            problems[name] = ahead
    return _refused(call, problems) if problems else (call, interaction)


def _reason_against(call: ModelCall) -> Reason | None:
    if call.is_tool_step:
        return Reason.TOOL_STEP
    if call.message is None or call.response is None:
        return Reason.NO_TEXT
    if call.message in REDACTION_MARKS or call.response in REDACTION_MARKS:
        return Reason.REDACTED
    if not call.user_id:
        return Reason.NO_USER
    if not call.model:
        return Reason.NO_MODEL
    return Reason.EXPIRED if expiry.has_expired(call.started_at) else None


def _interaction(call: ModelCall) -> ChatInteraction:
    started_at = call.started_at.astimezone(UTC)
    return ChatInteraction.from_values(
        {
            "interaction_id": call.call_id,
            "user_id": call.user_id,
            "message": call.message,
            "response": call.response,
            "model_used": call.model,
            "input_tokens": call.input_tokens,
            "output_tokens": call.output_tokens,
            "created_at": started_at,
            "updated_at": max(started_at, call.ended_at.astimezone(UTC)),
        }
    )


SIZE = "message and response together"


def _refused(call: ModelCall, problems: dict[str, str]) -> LeftOut:
    """The limits of `storage.limits` that it breaks. They quote no value."""
    is_size = any(text.startswith(SIZE) for text in problems.values())
    detail = "; ".join(
        text if text.startswith(SIZE) else f"{name} {text}" for name, text in problems.items()
    )
    return LeftOut(Reason.TOO_LONG if is_size else Reason.INVALID, detail, call.place)
