"""What becomes of the bodies that real tools have sent (`bodies/README.md`)."""

import io
import random
from collections import Counter

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from chat.ingest.calls import LeftOut
from chat.ingest.interactions import interactions
from chat.ingest.otlp import protobuf
from chat.ingest.otlp.conventions import calls
from tests.chat.ingest.otlp import (
    BODIES,
    LOGS,
    contents,
    error,
    partial,
    post,
    recorded,
    stored,
    traces,
)
from tests.tools.conversations import (
    ANSWERED_BY,
    CASES,
    INPUT_TOKENS,
    OUTPUT_TOKENS,
    left_text,
)

READERS = {"traces": protobuf.spans, "logs": protobuf.log_records}

OTLP = sorted(path.name for path in BODIES.iterdir() if next(path.glob("*.pb*"), None) is not None)
"""The tools that send OTLP."""

WITHOUT_TEXT = {
    "genai-openai-1.3b0-default",
    "genai-openai-1.3b0-event",  # its texts are in log records
    "openai-v2-2.2b0",
    "openai-v2-2.4b0-event",
}
"""Tools whose spans have no text."""

WITHOUT_REFUSALS = {  # the text of a refusal is lost before it is sent: whole, streamed
    "genai-langchain-1.3b0-span": {"refusal", "refusal_stream"},
    "langfuse-5.0.4": {"refusal", "refusal_stream"},
    "mlflow-3.17.2": {"refusal_stream"},
    "openai-v2-2.4b0-event": {"refusal", "refusal_stream"},
    "openai-v2-2.4b0-span": {"refusal", "refusal_stream"},
    "traceloop-0.62.4": {"refusal_stream"},
}
LEFT_OUT = {
    ("genai-langchain-1.3b0-span", "left"): "failed",
    ("openai-v2-2.4b0-event", "image"): "no_message",
    ("openai-v2-2.4b0-span", "image"): "no_message",
    ("traceloop-0.62.4", "image"): "no_message",
}
ALWAYS_COUNTED = {"genai-anthropic-1.3b0-span"}
"""The tools whose provider counts tokens whether it is asked to or not."""


RECORDED = [
    (tool, *path.name.split(".")[:2], path.name)
    for tool in OTLP
    for path in sorted((BODIES / tool).glob("*.pb*"))
]
"""Tool, case, signal, and name of the file."""


def expected(tool, case, signal):
    """What is made of a body: the interaction, if there is one, and how many of each reason."""
    conversation = CASES[case]
    number = 2 if conversation.calls_tool else 1
    if tool == "openai-v2-2.2b0" and signal == "logs":
        return None, {"text_apart": 0 if conversation.fails else len(_choices(case))}
    if conversation.fails:
        # Anthropic's SDK has a span of its own for each call.
        return None, {"failed": 2 if tool == "genai-anthropic-1.3b0-span" else 1}
    if tool in WITHOUT_TEXT and signal == "traces":
        return None, {"no_text": number}
    if reason := LEFT_OUT.get((tool, case)):
        return None, {reason: 1}
    counted = number if is_counted(tool, case) else 0
    kept = (
        conversation.question,
        answer(tool, case),
        ANSWERED_BY,
        INPUT_TOKENS * counted,
        OUTPUT_TOKENS * counted,
    )
    return kept, {"tool_step": 1} if conversation.calls_tool else {}


def _choices(case):
    conversation = CASES[case]
    extra = "second" if conversation.second_answer or conversation.calls_tool else ""
    return list(filter(None, ["first", extra]))


def answer(tool, case):
    conversation = CASES[case]
    if conversation.read:
        return left_text(case)
    if conversation.refusal:
        return "" if case in WITHOUT_REFUSALS.get(tool, ()) else conversation.refusal
    return conversation.answer


def is_counted(tool, case):
    conversation = CASES[case]
    if tool in ALWAYS_COUNTED or conversation.responses:
        return True
    return conversation.asks_usage or (conversation.usage and not conversation.streamed)


@pytest.mark.parametrize("tool", OTLP)
def test_the_recorded_bodies_of(tool):
    for name_of_tool, case, signal, name in RECORDED:
        if name_of_tool == tool:
            kept, left_out = expected(tool, case, signal)
            assert (name, *become(tool, signal, name)) == (
                name,
                [kept] if kept else [],
                {label: count for label, count in left_out.items() if count},
            )


def become(tool, signal, name):
    """What is made of a body, and the reasons for what is left out of it."""
    user_id = "ada" if signal == "logs" else None  # no tool names the user in log records
    found = list(interactions(calls(READERS[signal](recorded(f"{tool}/{name}"))), user_id))
    made = [one[1] for one in found if not isinstance(one, LeftOut)]
    assert {one.user_id for one in made} <= {"ada"}
    assert all(one.interaction_id.startswith("otel-") for one in made)
    assert all((one.created_at < one.updated_at) == (signal == "traces") for one in made)
    reasons = Counter(one.reason.label for one in found if isinstance(one, LeftOut))
    del reasons["no_call"]
    return [contents(one) for one in made], dict(reasons)


def whole(tool, signal):
    """All bodies of a tool in one: in protobuf, one after the other is one."""
    return b"".join(
        recorded(f"{tool}/{path.name}") for path in (BODIES / tool).glob(f"*.{signal}.*")
    )


def without_tokens(storage):
    return sorted(row[:3] for row in stored(storage))


@pytest.mark.every_backend
def test_all_bodies_over_http(client, make_client, storage):
    """What is stored is the same on each backend, and once if it is sent again."""
    for tool in OTLP:
        partial(post(client, whole(tool, "traces")))
        partial(post(make_client("ada"), whole(tool, "logs"), LOGS))
        partial(post(client, whole(tool, "traces")))
    wanted = [
        kept for tool, case, signal, _ in RECORDED if (kept := expected(tool, case, signal)[0])
    ]
    assert sorted(stored(storage)) == sorted(wanted)


@pytest.mark.every_backend
def test_in_halves_out_of_order_and_cut_off(client, storage):
    spans = [
        span
        for tool in OTLP
        for group in ExportTraceServiceRequest.FromString(whole(tool, "traces")).resource_spans
        for scope in group.scope_spans
        for span in scope.spans
    ]
    random.Random(7).shuffle(spans)
    body, half = traces(*spans), len(spans) // 2
    cut = {"wsgi.input": io.BytesIO(body[: len(body) // 2]), "CONTENT_LENGTH": str(len(body))}
    assert error(post(client, body, **cut)) == (400, "The body ended too soon.")
    assert stored(storage) == []
    for part in (spans[half:], spans[:half], spans[::-1]):
        assert "conflict" not in partial(post(client, traces(*part)))[1]
    wanted = [
        kept[:3]
        for tool, case, signal, _ in RECORDED
        if signal == "traces" and (kept := expected(tool, case, signal)[0])
    ]
    assert without_tokens(storage) == sorted(wanted)
