"""What the store should hold after each run, and what should be left out, and why.

`expected` is the table: what all tools have in common is in `_usual`, and what is
peculiar to a tool and its release stands by its name below.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import accumulate

from tests.tools.conversations import (
    ANSWERED_BY,
    CASES,
    INPUT_TOKENS,
    MODEL,
    OUTPUT_TOKENS,
    left_text,
    pieces,
)
from tests.tools.runs import RUNS


@dataclass(frozen=True)
class Kept:
    """An interaction, as the store should hold it."""

    message: str
    response: str
    model: str = ANSWERED_BY
    input_tokens: int = INPUT_TOKENS
    output_tokens: int = OUTPUT_TOKENS


@dataclass(frozen=True)
class Outcome:
    """What becomes of one case: at most one interaction, and reasons of what is left out.

    Of `no_call` nothing is said: it only tells that users send more than calls of models.
    """

    kept: Kept | None = None
    left_out: Counter[str] = field(default_factory=Counter)
    or_kept: tuple[Kept, ...] = ()
    """What is right as well: it depends on how fast the tool was."""


NOT_SENT = Outcome()
"""The tool does not send this case at all, or the script does not ask it."""

STREAMS_WITHOUT_USAGE = ("stream", "refusal_stream", "left")


def left_out(reason: str, count: int = 1) -> Outcome:
    return Outcome(None, Counter({reason: count}))


def _usual(case: str) -> Outcome:
    """What becomes of a case if the tool sends all that it could."""
    asked = CASES[case]
    if asked.fails:
        return left_out("failed")
    answer = left_text(case) if asked.read else asked.refusal or asked.answer
    counted = case not in ("no_usage", *STREAMS_WITHOUT_USAGE)
    calls = (2 if asked.calls_tool else 1) if counted else 0
    kept = Kept(
        asked.question,
        answer,
        input_tokens=INPUT_TOKENS * calls,
        output_tokens=OUTPUT_TOKENS * calls,
    )
    return Outcome(kept, Counter({"tool_step": 1} if asked.calls_tool else {}))


def _kept(
    case: str, response: str | None = None, tokens: tuple[int, int] | None = None, model: str = ""
) -> Outcome:
    """The usual outcome, but for what is given."""
    usual = _usual(case)
    assert usual.kept
    counts = tokens or (usual.kept.input_tokens, usual.kept.output_tokens)
    text = usual.kept.response if response is None else response
    kept = Kept(usual.kept.message, text, model or usual.kept.model, *counts)
    return Outcome(kept, usual.left_out)


def _without_text(case: str) -> Outcome:
    asked = CASES[case]
    if asked.fails:
        return left_out("failed")
    return left_out("no_text", 2 if asked.calls_tool else 1)


def _lost(*cases: str) -> dict[str, Outcome]:
    """The tool loses the text of the answer."""
    return {case: _kept(case, response="") for case in cases}


def _all(outcome: str, run: str) -> dict[str, Outcome]:
    return {case: left_out(outcome) for case in RUNS[run].cases or CASES}


def _not_sent(*cases: str) -> dict[str, Outcome]:
    return dict.fromkeys(cases, NOT_SENT)


COUNTED = (INPUT_TOKENS, OUTPUT_TOKENS)
WITHOUT_RESPONSES = _not_sent("responses", "responses_stream")
OPENAI_V2 = (
    WITHOUT_RESPONSES | _lost("refusal", "refusal_stream") | {"image": left_out("no_message")}
)
LITELLM_STREAMS = {
    # Of a stream it says which model was asked for, and counts tokens itself unless asked not to.
    "stream": _kept("stream", tokens=(22, 6), model=MODEL),
    "stream_usage": _kept("stream_usage", model=MODEL),
    "refusal_stream": _kept("refusal_stream", response="", tokens=(26, 0), model=MODEL),
}

PROXY = {
    case: _kept(case, tokens=(0, 0) if case == "no_usage" else None, model=MODEL)
    for case in CASES
    if not CASES[case].fails
}
PROXY |= {
    # It asks for the token counts of each stream.
    "stream": _kept("stream", tokens=COUNTED, model=MODEL),
    "refusal_stream": _kept("refusal_stream", "", COUNTED, MODEL),
    # What it has got from the model when it learns that its client has left.
    "left": Outcome(
        or_kept=tuple(
            Kept(CASES["left"].question, text, MODEL, *COUNTED)
            for text in accumulate(pieces(CASES["left"].answer))
        )
    ),
    # Its callback may send the steps of a turn one by one.
    **{
        case: Outcome(
            _kept(case, model=MODEL).kept,
            _usual(case).left_out,
            (Kept(CASES[case].question, CASES[case].answer, MODEL),),
        )
        for case in ("tool", "agent")
    },
}

PECULIAR: dict[str, Mapping[str, Outcome]] = {
    "genai-openai-1.3b0-default": {case: _without_text(case) for case in CASES},
    "genai-openai-1.3b0-true": {case: _without_text(case) for case in CASES},
    "genai-openai-1.3b0-cut": _all("cut", "genai-openai-1.3b0-cut"),
    "genai-anthropic-1.3b0-span": _not_sent("choices", "responses", "responses_stream")
    # Anthropic's SDK has a span of its own for each call.
    | {"failure": left_out("failed", 2)}
    # Anthropic counts whether it is asked to or not.
    | {case: _kept(case, tokens=COUNTED) for case in ("no_usage", *STREAMS_WITHOUT_USAGE)},
    "genai-langchain-1.3b0-span": _lost("refusal", "refusal_stream") | {"left": left_out("failed")},
    "openai-agents-0.24.0": _not_sent("image", "choices", "left"),
    "openai-v2-2.4b0-span": OPENAI_V2,
    "openai-v2-2.4b0-event": OPENAI_V2,
    "openai-v2-2.2b0": WITHOUT_RESPONSES,
    "traceloop-0.62.4": _lost("refusal_stream") | {"image": left_out("no_message")},
    "traceloop-0.48.1": _lost("refusal_stream", "left")
    | {case: left_out("no_user") for case in ("responses", "responses_stream")}
    | {"image": left_out("no_message")},
    "traceloop-0.62.4-untraced": {case: _without_text(case) for case in CASES},
    "openinference-0.1.66-hidden": _all("redacted", "openinference-0.1.66-hidden"),
    "mlflow-3.17.2": _lost("refusal_stream") | _not_sent("left"),
    "langfuse-5.0.4": _lost("refusal", "refusal_stream"),
    "langfuse-3.10.0": _lost("refusal", "refusal_stream")
    | {"responses_stream": _kept("responses_stream", tokens=(0, 0))},
    "litellm-1.110.2": _not_sent("left") | LITELLM_STREAMS,
    "litellm-1.110.2-redacted": _all("redacted", "litellm-1.110.2-redacted")
    | {"failure": left_out("failed")},
    "litellm-proxy-1.110.2": PROXY,
    "llm-0.36": _not_sent("no_usage", "failure", "left", "choices", "responses", "responses_stream")
    | {
        "stream": _kept("stream", tokens=COUNTED),
        "refusal_stream": _kept("refusal_stream", "", COUNTED),
    },
}


def expected(run: str, case: str, signal: str) -> Outcome:
    """What should become of what a run sends of a case in traces, logs, or another request."""
    wanted, peculiar = RUNS[run].cases, PECULIAR.get(run, {}).get(case)
    if peculiar is NOT_SENT or (wanted and case not in wanted):
        return NOT_SENT
    if signal == "traces" and "logs" in RUNS[run].signals:
        return _without_text(case)
    if run == "openai-v2-2.2b0":
        return Outcome(left_out=_texts_apart(case))
    return peculiar or _usual(case)


def _texts_apart(case: str) -> Counter[str]:
    """A log record of each answer; what it answers, and the model, are in other records."""
    asked = CASES[case]
    if asked.fails:
        return Counter()
    return Counter({"text_apart": 2 if asked.second_answer or asked.calls_tool else 1})
