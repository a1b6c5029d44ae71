"""OTLP that is no OTLP, too much of it, or none that an exporter would send."""

import gzip
import sys
from contextlib import suppress
from pathlib import Path

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from chat.api.problems import InvalidRequest, TooLarge
from chat.ingest.bodies import UNPACKED_LIMIT
from chat.ingest.calls import LeftOut
from chat.ingest.interactions import interactions
from chat.ingest.otlp import json, protobuf
from chat.ingest.otlp.attributes import (
    ANSWER,
    INPUT,
    INPUT_TOKENS,
    MODEL,
    OPENINFERENCE_KIND,
    OPERATION,
    OUTPUT,
    OUTPUT_TOKENS,
    REQUEST,
    USAGE,
    USER,
)
from chat.ingest.otlp.conventions import calls
from chat.ingest.otlp.spans import RECORD_BYTES_MAX
from chat.ingest.otlp.spans import Span as OtlpSpan
from storage import limits
from tests.chat.ingest.otlp import (
    JSON,
    LOGS,
    PROTOBUF,
    START,
    TRACE,
    TRACES,
    chat,
    error,
    json_span,
    partial,
    post,
    said,
    span,
    stored,
    traces,
    traces_json,
)


def length(number):
    """A number as protobuf has it before what is so long."""
    return bytes([number & 127 | 128]) + length(number >> 7) if number > 127 else bytes([number])


def field(number, content):
    return bytes([number << 3 | 2]) + length(len(content)) + content


def in_groups(spans):
    """Spans as bytes, one after the other, in their groups."""
    return field(1, field(2, spans))


@pytest.mark.parametrize(
    "body",
    [
        b"\0",
        b"\0" * 1000,
        b"What is this?",
        b'{"resourceSpans":[]}',
        b"\x0a",
        b"\x0a\x05\x12",
        b"\x0a\x80",
        b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        b"\x0b\x0c",
        b"\x10\x01",
        traces(span())[:-1],
        traces(span()) + b"\0",
        traces(span()) + b"trailing garbage",
    ],
)
@pytest.mark.parametrize("path", [TRACES, LOGS])
def test_no_protobuf(client, storage, intake, body, path):
    status, text = error(post(client, body, path))
    assert status == 400
    assert text.startswith("The body is not OTLP in protobuf")
    assert stored(storage) == []
    assert intake["otlp", "unreadable"] == 1


TOO_DEEP = "nested too deeply." if sys.version_info < (3, 14) else "Input data was truncated."
"""How deep is too deep is from Python 3.14 on for the size of the stack to say."""


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "The body is not OTLP in JSON: Input data was truncated."),
        (b"[]", "The body is not OTLP in JSON: Expected `object`, got `array`."),
        (b'{"spans":[]}', "The body is not OTLP in JSON: it has no resource"),
        (b'{"resourceSpans":7,"resourceLogs":7}', "Expected `array | null`, got `int`"),
        (traces_json(json_span())[:-1], "The body is not OTLP in JSON"),
        (b"[" * 100_000, "The body is not OTLP in JSON"),
        (b'{"a":' * 100_000, f"The body is not OTLP in JSON: {TOO_DEEP}"),
        (b'{"a":"\xff"}', "The body is not OTLP in JSON"),
        (traces(span()), "The body is not OTLP in JSON: "),
    ],
)
@pytest.mark.parametrize("path", [TRACES, LOGS])
def test_no_json_of_otlp(client, storage, body, said, path):
    status, text = error(post(client, body, path, JSON))
    assert status == 400
    assert said in text
    assert stored(storage) == []


@pytest.mark.parametrize("media_type", ["text/plain", "", "application/x-www-form-urlencoded", "x"])
def test_other_media_types(client, media_type):
    status, text = error(post(client, traces(span()), media_type=media_type))
    assert status == 415
    assert PROTOBUF in text


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"end_time_unix_nano": 0}, "no_end"),
        ({"start_time_unix_nano": 0}, "invalid"),
        ({"end_time_unix_nano": 2**64 - 1}, "invalid"),
        ({"trace_id": b""}, "invalid"),
        ({"trace_id": bytes(16)}, "invalid"),
        ({"span_id": b"1234567"}, "invalid"),
        ({"span_id": bytes(8)}, "invalid"),
    ],
)
def test_a_span_that_lacks_something_harms_no_other(client, storage, fields, reason):
    count, text = partial(post(client, traces(span(1), span(2, **fields), span(3))))
    assert (count, len(stored(storage))) == (1, 2)
    assert text.startswith(f"1 {reason}: ")


@pytest.mark.parametrize(
    "bad",
    [
        7,
        None,
        "span",
        json_span(2, traceId="xyz"),
        json_span(2, traceId="é" * 32),
        json_span(2, startTimeUnixNano="soon"),
        json_span(2, startTimeUnixNano=-1),
        json_span(2, endTimeUnixNano="9" * 5000),
        json_span(2, endTimeUnixNano=1e300),
        json_span(2) | {"attributes": {}},
        json_span(2) | {"attributes": [{"key": 1}]},
    ],
)
def test_a_span_of_json_that_is_wrong_harms_no_other(client, storage, bad):
    response = post(client, traces_json(json_span(1), bad, json_span(3)), media_type=JSON)
    count, text = partial(response)
    assert (count, len(stored(storage))) == (1, 2)
    assert text.startswith("1 invalid: ")


def test_a_span_with_text_that_is_no_unicode_harms_no_other(client, storage):
    bad = span(2).SerializeToString().replace(b"What is a heap?", b"What is a \xff\xff\xff?")
    spans = [span(1).SerializeToString(), bad, span(3).SerializeToString()]
    response = post(client, in_groups(b"".join(field(2, one) for one in spans)))
    assert partial(response)[0] == 1
    assert len(stored(storage)) == 2


HALF = '"What is \\ud83d"'
"""A text as JavaScript has it that was cut in the middle of a character."""


def test_half_a_character_harms_nothing_else(client, storage):
    body = traces_json(json_span(1), json_span(2, chat(user__id="HALF")))
    body = body.replace(b'"HALF"', HALF.encode())
    assert partial(post(client, body, media_type=JSON)) == (0, "")
    assert len(stored(storage)) == 1
    assert len(stored(storage, "What is \ufffd")) == 1


@pytest.mark.parametrize("odd", [HALF, '"What is ?","n":NaN', '"What is ?","n":1' + "0" * 99])
def test_json_in_an_attribute_that_no_other_reader_takes(client, storage, odd):
    asked = '[{"role":"user","content":' + odd + "}]"
    assert partial(post(client, traces(span(1, chat(gen_ai__input__messages=asked))))) == (0, "")
    assert stored(storage)[0][0].startswith("What is ")


def test_an_answer_quotes_little_of_a_long_id(client):
    body = traces_json(*[json_span(1, spanId="5" * 100_000)] * 6)
    response = post(client, body, media_type=JSON)
    assert partial(response)[0] == 6
    assert len(response.content) < 2000


def test_more_tokens_than_there_can_be_are_unknown(client, storage):
    attributes = chat(gen_ai__usage__input_tokens=2**53)
    assert partial(post(client, traces(span(1, attributes)))) == (0, "")
    assert stored(storage)[0][3] == 0


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        (chat(gen_ai__input__messages=said("What is a heap?")[:40]), "cut"),
        (chat(gen_ai__output__messages=said("A tree.", "assistant")[:-1]), "cut"),
        (chat(gen_ai__input__messages="[]"), "no_message"),
        (chat(gen_ai__input__messages=said("You answer.", "system")), "no_message"),
        (chat(gen_ai__input__messages="__REDACTED__"), "redacted"),
        (chat(gen_ai__response__model=None, gen_ai__request__model=None), "no_model"),
        (chat(user__id="a\nb"), "invalid"),
        (chat(gen_ai__input__messages=said("x" * 400_000)), "too_long"),
    ],
)
def test_a_call_that_cannot_be_stored(client, storage, attributes, reason, monkeypatch):
    monkeypatch.setattr(limits, "TEXT_MAX_BYTES", 390_000)
    count, text = partial(post(client, traces(span(1, attributes), span(2))))
    assert (count, len(stored(storage))) == (1, 1)
    assert text.startswith(f"1 {reason}: ")


@pytest.fixture
def few_spans(monkeypatch):
    """A request may have fewer spans, so that the test is quick."""
    for module in (protobuf, json):
        monkeypatch.setattr(module, "RECORDS_MAX", FEW)


FEW = 1000


@pytest.mark.usefixtures("few_spans")
def test_as_many_spans_as_a_request_may_have():
    other = field(2, Span(name="GET /").SerializeToString())
    body = in_groups(other * (FEW - 3) + field(2, span().SerializeToString()))
    found = list(calls(protobuf.spans(body)))
    assert len(found) == FEW - 2
    assert sum(not isinstance(one, LeftOut) for one in found) == 1


@pytest.mark.parametrize(
    "body",
    [
        field(1, b"") * (FEW + 1),
        field(1, field(2, b"") * (FEW + 1)),
        in_groups(field(2, b"") * (FEW + 1)),
        in_groups(b"\x10\x01" * 2 * FEW),
        b'{"resourceSpans":[' + b"{}," * FEW + b"{}]}",
        b'{"resourceSpans":[{"scopeSpans":[{"spans":[' + b"{}," * FEW + b"{}]}]}]}",
        b'{"resourceSpans":[' + b"{}," * 2_000_000 + b"{}]}",
    ],
)
@pytest.mark.usefixtures("few_spans")
def test_more_spans_are_refused_with_a_size_that_would_do(client, storage, body):
    status, text = error(post(client, body, media_type=JSON if body[:1] == b"{" else PROTOBUF))
    assert status == 413
    assert "at most" in text
    assert "smaller batches" in text


def test_a_bomb_of_zeros(client):
    bomb = gzip.compress(bytes(UNPACKED_LIMIT + 1), 1)
    status, text = error(post(client, bomb, HTTP_CONTENT_ENCODING="gzip"))
    assert status == 413
    assert "67108864" in text


EMPTY = 1_000_000

BOMBS = {
    "attributes": field(2, b"\x4a\x00" * EMPTY),
    "values": field(2, field(9, field(1, b"user.id") + field(2, field(5, b"\x0a\x00" * EMPTY)))),
    "events": field(2, b"\x5a\x00" * EMPTY),
    "spans": field(2, b"") * 2 * EMPTY,
    "one attribute": field(2, b"\x4a" + b"\x00\x4a" * EMPTY),
}
"""Spans that are small, and would become large."""


def peak():
    """The most memory that this process has had, in MB. Resets it."""
    status = Path("/proc/self/status").read_text()
    Path("/proc/self/clear_refs").write_text("5")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_what_is_no_span_takes_no_memory():
    body = b'{"resourceSpans":[{"scopeSpans":[{"spans":[' + b"1," * 5 * EMPTY + b"1]}]}]}"
    peak()
    before = peak()
    with pytest.raises(TooLarge):
        json.spans(body)
    assert peak() - before < 50


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
@pytest.mark.parametrize("kind", BOMBS)
def test_memory_is_bounded_by_the_body(kind):
    body = in_groups(BOMBS[kind])
    peak()
    before = peak()
    with suppress(TooLarge):
        for one in calls(protobuf.spans(body)):
            assert isinstance(one, LeftOut)
    assert peak() - before < 40 * len(body) / 2**20 + 20


TOO_LARGE = "x" * RECORD_BYTES_MAX


def test_a_span_that_is_too_large_harms_no_other(client, storage):
    count, text = partial(post(client, traces(span(1, chat(note=TOO_LARGE)), span(2))))
    assert (count, len(stored(storage))) == (1, 1)
    assert text.startswith("1 too_long: ")
    body = traces_json(json_span(3, chat(note=TOO_LARGE)), json_span(4))
    count, text = partial(post(client, body, media_type=JSON))
    assert (count, len(stored(storage))) == (1, 2)


@pytest.mark.parametrize("value", [{"arrayValue": {"values": [{}] * 10_001}}, {"arrayValue": 7}])
def test_a_list_that_is_too_long_or_none_harms_no_other(client, storage, value):
    pairs = [*json_span()["attributes"], {"key": "user.id", "value": value}]
    body = traces_json(json_span(1) | {"attributes": pairs}, json_span(2))
    assert partial(post(client, body, media_type=JSON))[0] == 1
    assert len(stored(storage)) == 1


WORDS = st.sampled_from(
    [
        *("role", "content", "parts", "text", "type", "user", "messages", "input", "output", "id"),
        *("choices", "message", "refusal", "tool_calls", "prompt", "candidates", "thought"),
        *("function_call", "arguments"),
    ]
)
MEANT = st.sampled_from(["user", "assistant", "text", "tool_call", "tool_result", "reasoning"])

any_json = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 2**63) | st.floats(allow_nan=False) | MEANT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=8,
)


def json_text(values):
    return values.map(lambda value: orjson.dumps(value).decode())


any_value = json_text(any_json) | st.text() | st.integers(-(2**63), 2**63 - 1) | any_json
any_attributes = st.dictionaries(
    st.sampled_from(
        [
            *INPUT,
            *OUTPUT,
            *USAGE,
            *USER,
            *MODEL,
            *INPUT_TOKENS,
            *OUTPUT_TOKENS,
            REQUEST,
            ANSWER,
            OPERATION,
            "llm.input_messages.0.message.role",
            "llm.input_messages.0.message.content",
            "llm.input_messages.7.message.contents.1.message_content.text",
            "llm.output_messages.0.message.tool_calls.0.tool_call.id",
            "gen_ai.prompt.0.content",
            "gen_ai.completion.0.role",
        ]
    ),
    any_value,
)


@given(st.lists(any_attributes, max_size=3), any_attributes, st.booleans())
@settings(max_examples=100, deadline=None)
def test_any_attributes_give_an_interaction_or_a_reason(attributes, resource, failed):
    spans = [
        OtlpSpan(
            TRACE,
            f"{number:016x}",
            START,
            START + 1,
            {OPENINFERENCE_KIND: "LLM"} | found,
            resource,
            failed,
        )
        for number, found in enumerate(attributes, start=1)
    ]
    made = list(interactions(calls(spans), None))
    assert len(made) == len(spans)
    for one in made:
        assert isinstance(one, LeftOut) or not one[1].violations()


WHOLE = traces(span(1), span(2))
WHOLE_JSON = traces_json(json_span(1), json_span(2))
mutated = st.builds(
    lambda body, at, byte: body[: at % len(body)] + bytes([byte]) + body[at % len(body) + 1 :],
    st.sampled_from([WHOLE, WHOLE_JSON]),
    st.integers(0, 10_000),
    st.integers(0, 255),
)
"""Sound bodies with one byte that is another."""


@given(st.binary(max_size=200) | st.binary(max_size=100).map(in_groups) | mutated)
@settings(max_examples=100, deadline=None)
def test_any_bytes_give_calls_or_a_problem(body):
    for read in (protobuf.spans, protobuf.log_records, json.spans, json.log_records):
        with suppress(InvalidRequest, TooLarge):
            list(interactions(calls(read(body)), None))
