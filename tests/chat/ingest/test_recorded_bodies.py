"""What becomes of the bodies that real tools have sent (`bodies/README.md`)."""

import io
import random
from collections import Counter
from dataclasses import astuple

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from chat.ingest.calls import LeftOut
from chat.ingest.interactions import interactions
from chat.ingest.otlp import json, protobuf
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
from tests.tools.expected import expected

READERS = {
    ("traces", True): protobuf.spans,
    ("logs", True): protobuf.log_records,
    ("traces", False): json.spans,
}
"""By signal, and whether it is protobuf."""

RECORDED = [
    (path.parent.name, *path.name.split(".")[:2], path.name)
    for signal in ("traces", "logs")
    for path in sorted(BODIES.glob(f"*/*.{signal}.*"))
]
"""Tool, case, signal, and name of the file."""

TOOLS = sorted({tool for tool, *_ in RECORDED})
"""The tools that send OTLP."""

PROTOBUF = [one for one in RECORDED if ".pb" in one[3]]


def wanted(tool, case, signal):
    """The interaction that should be made of a body, if any, and how many of each reason."""
    outcome = expected(tool, case, signal)
    return outcome.kept and astuple(outcome.kept), outcome.left_out


@pytest.mark.parametrize("tool", TOOLS)
def test_the_recorded_bodies_of(tool):
    for name_of_tool, case, signal, name in RECORDED:
        if name_of_tool == tool:
            kept, left_out = wanted(tool, case, signal)
            assert (name, *become(tool, signal, name)) == (
                name,
                [kept] if kept else [],
                dict(left_out),
            )


def become(tool, signal, name):
    """What is made of a body, and the reasons for what is left out of it."""
    user_id = "ada" if signal == "logs" else None  # no tool names the user in log records
    read = READERS[signal, ".pb" in name]
    found = list(interactions(calls(read(recorded(f"{tool}/{name}"))), user_id))
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
        recorded(f"{tool}/{path.name}") for path in (BODIES / tool).glob(f"*.{signal}.pb*")
    )


def without_tokens(storage):
    return sorted(row[:3] for row in stored(storage))


@pytest.mark.every_backend
def test_all_bodies_over_http(client, make_client, storage):
    """What is stored is the same on each backend, and once if it is sent again."""
    for tool in TOOLS:
        partial(post(client, whole(tool, "traces")))
        partial(post(make_client("ada"), whole(tool, "logs"), LOGS))
        partial(post(client, whole(tool, "traces")))
    kept = [wanted(tool, case, signal)[0] for tool, case, signal, _ in PROTOBUF]
    assert sorted(stored(storage)) == sorted(filter(None, kept))


@pytest.mark.every_backend
def test_in_halves_out_of_order_and_cut_off(client, storage):
    spans = [
        span
        for tool in TOOLS
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
    kept = [
        wanted(tool, case, "traces")[0] for tool, case, signal, _ in PROTOBUF if signal == "traces"
    ]
    assert without_tokens(storage) == sorted(one[:3] for one in kept if one)
