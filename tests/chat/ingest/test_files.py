"""What readers of files make of what other tools wrote."""

import csv
import io
import json
import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chat.ingest.calls import LeftOut, ModelCall
from chat.ingest.files import entries, langfuse, litellm, llm, openai
from chat.ingest.json_records import BrokenFile
from tests.chat.ingest.otlp import BODIES
from tests.chat.ingest.test_litellm import VALUES
from tests.chat.ingest.test_litellm import record as litellm_record
from tests.tools.conversations import ANSWERED_BY, CASES, INPUT_TOKENS, OUTPUT_TOKENS

READERS = {"llm": llm, "litellm": litellm, "openai": openai, "langfuse": langfuse}


def read(reader, *values, **options):
    """What is made of a file with these values, one a line."""
    content = b"".join(
        value if isinstance(value, bytes) else json.dumps(value).encode() + b"\n"
        for value in values
    )
    return list(reader.read(io.BytesIO(content), "ada", **options))


def only(found):
    (one,) = found
    return one


def reasons(found):
    return [one.reason.label for one in found if isinstance(one, LeftOut)]


def texts(found):
    return [(one.message, one.response) for one in found if isinstance(one, ModelCall)]


# The forms in which a file has its values.

FORMS = {
    "lines": lambda values: b"\n".join(json.dumps(value).encode() for value in values),
    "lines that end with CRLF": lambda values: b"".join(
        json.dumps(value).encode() + b"\r\n" for value in values
    ),
    "an array": lambda values: json.dumps(values).encode(),
    "an array over several lines": lambda values: json.dumps(values, indent=2).encode(),
    "values over several lines": lambda values: b"\n".join(
        json.dumps(value, indent=2).encode() for value in values
    ),
    "arrays one after the other": lambda values: b"".join(
        json.dumps([value]).encode() for value in values
    ),
    "a byte order mark, and blanks": lambda values: (
        "\ufeff \n\n".encode() + json.dumps(values).encode()
    ),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_the_forms_of_a_file(form):
    values = [{"id": number, "text": "“[{,\n}]”"} for number in range(3)]
    found = list(entries.entries(io.BytesIO(form(values))))
    assert [value for _, value in found] == values
    assert len({place for place, _ in found}) == 3


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_numbers_beyond_64_bits(form):
    """A structured answer may have them, and in an array the whole file was no JSON."""
    values = [{"id": 2**64, "low": -(2**80), "in": [1.5, {"x": -0.0, "y": 3}]}, 0.25, {"last": 1}]
    found = [value for _, value in entries.entries(io.BytesIO(form(values)))]
    assert found == values
    assert repr(found) == repr(values), "floats are floats"


def test_a_float_that_is_too_large_ends_no_array():
    (found,) = entries.entries(io.BytesIO(b'[{"x": 1e400}]'))
    assert found == ("entry 1", {"x": math.inf})


@pytest.mark.parametrize("split", [1, 7, 150, 300, 10_000])
def test_a_number_of_very_many_digits_is_refused(split):
    """Before the parser has it: Python makes no integer of more than 4,300 digits."""
    limited = entries._Limited(Chunks(b'["%s", 1%s' % (b"9" * 400, b"0" * 300), split))
    with pytest.raises(BrokenFile, match="300 digits"):
        list(iter(lambda: limited.read(1), b""))
    sound = b'["%s", %s, 1%s, -2%s.5]' % (b"9" * 400, b"1" * 300, b"0" * 299, b"3" * 299)
    limited = entries._Limited(Chunks(sound, split))
    assert b"".join(iter(lambda: limited.read(1), b"")) == sound


class Chunks:
    """A file that gives so many bytes at once."""

    def __init__(self, content, size):
        self._file, self._size = io.BytesIO(content), size

    def read(self, size):
        return self._file.read(self._size)


@pytest.mark.parametrize("content", [b"", b" \n", b"[]", b"\xef\xbb\xbf"])
def test_nothing_is_in_an_empty_file(content):
    for reader in READERS.values():
        assert read(reader, content) == []


def test_a_bad_line_is_left_out_and_the_rest_is_read():
    found = list(entries.entries(io.BytesIO(b'{"a": 1}\nnonsense\n{"a": \xff}\n{"a": 2}')))
    assert found[0] == ("line 1", {"a": 1})
    assert found[3] == ("line 4", {"a": 2})
    assert [(one.place, one.detail[:12]) for one in found[1:3]] == [
        ("line 2", "It is not JS"),
        ("line 3", "It is not UT"),
    ]


@pytest.mark.parametrize("rest", [b', {"a": secret}]', b', {"a": "secret', b', {"a": "\xff"}]'])
def test_an_array_ends_at_a_mistake_and_nothing_of_it_is_told(rest):
    found = entries.entries(io.BytesIO(b'[{"a": 1}' + rest))
    with pytest.raises(BrokenFile) as error:
        list(found)
    assert str(error.value).startswith("After entry 1 it is not JSON: ")
    assert "secret" not in str(error.value)


def test_no_value_may_be_larger_than_a_limit(monkeypatch):
    monkeypatch.setattr(entries, "ENTRY_LIMIT", 1000)
    monkeypatch.setattr(entries, "_BUFFER", 100)
    long = json.dumps("x" * 3000).encode()
    found = list(entries.entries(io.BytesIO(b'"a"\n' + long + b'\n"b"\n')))
    assert [one.place if isinstance(one, LeftOut) else one for one in found] == [
        ("line 1", "a"),
        "line 2",
        ("line 3", "b"),
    ]
    array = entries.entries(io.BytesIO(b'["a", ' + long + b"]"))
    with pytest.raises(BrokenFile, match="more than 1000 bytes"):
        list(array)
    many = b"[" + b",".join([b'"x"'] * 3000) + b"]"
    assert len(list(entries.entries(io.BytesIO(many)))) == 3000


@pytest.mark.parametrize("reader", READERS.values(), ids=READERS)
@settings(max_examples=50)
@given(values=st.lists(VALUES, max_size=2), form=st.sampled_from(sorted(FORMS)))
def test_any_json_is_a_call_or_left_out(reader, values, form):
    try:
        found = read(reader, FORMS[form](values))
    except BrokenFile:
        return
    assert all(isinstance(one, LeftOut | ModelCall) for one in found)
    assert all(one.place for one in found)


@pytest.mark.parametrize("reader", READERS.values(), ids=READERS)
@given(content=st.binary(max_size=60))
def test_any_bytes_are_left_out_or_refused(reader, content):
    try:
        found = read(reader, content)
    except BrokenFile:
        return
    assert all(isinstance(one, LeftOut) for one in found)


SOUND = {
    "llm": lambda: entry(),
    "litellm": lambda: litellm_record(),
    "openai": lambda: pair(),
    "langfuse": lambda: observation(),
}


@pytest.mark.parametrize("name", READERS)
@settings(max_examples=50)
@given(data=st.data())
def test_a_sound_entry_with_any_fields_is_a_call_or_left_out(name, data):
    sound = SOUND[name]()
    changed = data.draw(st.dictionaries(st.sampled_from(sorted(sound)), VALUES, max_size=3))
    (one,) = read(READERS[name], sound | changed)
    assert isinstance(one, LeftOut | ModelCall)


# llm


def entry(**fields):
    return {
        "id": "01m8pmk3wbvvb8zhkr1k02k94r",
        "model": "m",
        "resolved_model": None,
        "conversation_id": "01m8pmk3vz8bq1df181e221qqk",
        "duration_ms": 1017,
        "datetime_utc": "2026-11-02T09:30:00.123456+00:00",
        "input_tokens": 111,
        "output_tokens": 22,
        "prompt": "What is a heap?",
        "response": "A tree.",
        "response_json": {"model": "m-1"},
        "tool_calls": [],
        "tool_results": [],
    } | fields


def test_an_entry_of_llm():
    assert only(read(llm, entry())) == ModelCall(
        call_id="01m8pmk3wbvvb8zhkr1k02k94r",
        user_id="ada",
        message="What is a heap?",
        response="A tree.",
        model="m-1",
        started_at=datetime(2026, 11, 2, 9, 30, 0, 123456, UTC),
        ended_at=datetime(2026, 11, 2, 9, 30, 1, 140456, UTC),
        input_tokens=111,
        output_tokens=22,
        place="line 1",
    )


def test_what_llm_itself_wrote():
    asked = {
        conversation.question: conversation
        for name, conversation in CASES.items()
        if name != "refusal_stream"
    }
    content = (BODIES / "llm-0.36" / "logs.json").read_bytes()
    found = list(llm.read(io.BytesIO(content), "ada"))
    calls = [one for one in found if isinstance(one, ModelCall)]
    assert len(calls) >= 9
    for call in calls:
        if call.message not in asked:  # llm loses the refusal of a stream
            assert (call.message, call.response) == (CASES["refusal_stream"].question, "")
            continue
        conversation = asked[call.message]
        number = 2 if conversation.calls_tool else 1
        assert call.response.rstrip() == (conversation.refusal or conversation.answer)
        assert (call.input_tokens, call.output_tokens) == (
            INPUT_TOKENS * number,
            OUTPUT_TOKENS * number,
        )
        assert call.model == ANSWERED_BY
    tools = [one for one in calls if asked.get(one.message, CASES["answer"]).calls_tool]
    assert reasons(found) == ["tool_step"] * len(tools)


def step(number, **fields):
    """A step of a turn: it calls a tool."""
    calls = {"tool_calls": [{"name": "today"}], "response": ""}
    return entry(id=f"step {number}", **(calls | fields))


def last(**fields):
    """The end of a turn, after tools."""
    return entry(**({"prompt": "", "tool_results": [{"output": "21"}]} | fields))


def test_the_tokens_of_steps_go_to_the_answer_of_their_turn_and_so_does_the_question():
    other = entry(conversation_id="other", prompt="Another?", id="other")
    found = read(llm, step(1), other, step(2, prompt="", tool_results=[{}]), last())
    assert reasons(found) == ["tool_step", "tool_step"]
    assert texts(found) == [("Another?", "A tree."), ("What is a heap?", "A tree.")]
    assert [one.input_tokens for one in found if isinstance(one, ModelCall)] == [111, 333]


def test_a_step_that_says_something_is_an_interaction_and_keeps_its_tokens():
    found = read(llm, step(1, response="Let me look."), last())
    assert texts(found) == [("What is a heap?", "Let me look."), ("What is a heap?", "A tree.")]
    assert [one.input_tokens for one in found] == [111, 111]


def test_an_answer_to_tools_without_its_question_is_left_out():
    assert reasons(read(llm, last())) == ["no_message"]
    assert reasons(read(llm, step(1), entry(id="next"), last())) == ["tool_step", "no_message"]


def test_open_turns_are_limited(monkeypatch):
    monkeypatch.setattr(llm, "OPEN_TURNS", 2)
    steps = [step(number, conversation_id=f"c{number}") for number in range(3)]
    ends = [last(conversation_id=f"c{number}") for number in range(3)]
    assert reasons(read(llm, *steps, *ends)) == ["tool_step"] * 3 + ["no_message"]


def test_an_image_alone_is_an_empty_message_and_times_of_old_entries_are_utc():
    found = only(read(llm, entry(prompt="", datetime_utc="2026-11-02 09:30:00.5")))
    assert (found.message, found.started_at.isoformat()) == ("", "2026-11-02T09:30:00.500000+00:00")


def test_a_question_that_is_in_fragments():
    """llm up to 0.31 has them beside the prompt, each cut to 100 characters without --expand."""

    def of(*contents):
        fragments = [{"hash": "x", "content": content, "aliases": []} for content in contents]
        return read(llm, entry(prompt="", prompt_fragments=fragments))

    assert texts(of("What is", "a heap?")) == [("What is\na heap?", "A tree.")]
    whole = "x" * 200
    assert texts(of(whole)) == [(whole, "A tree.")]
    assert "--expand" in only(of("a", f"{'x' * 97}...")).detail


def test_a_refusal_that_is_only_in_the_whole_answer_is_text():
    whole = {"choices": [{"message": {"role": "assistant", "refusal": "No."}}]}
    assert texts(read(llm, entry(response="", response_json=whole))) == [("What is a heap?", "No.")]


# The Batch API


def request(**fields):
    body = {"model": "m", "messages": [{"role": "user", "content": "What is a heap?"}]}
    return {
        "custom_id": "r1",
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": body | fields,
    }


def completion(**fields):
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1793612000,
        "model": "m-1",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "A tree."}}],
        "usage": {"prompt_tokens": 111, "completion_tokens": 22},
    } | fields


def output(**fields):
    response = {"status_code": 200, "request_id": "req_1", "body": completion()}
    return {"id": "batch_req_1", "custom_id": "r1", "response": response, "error": None} | fields


def pair(**fields):
    return {"request": request()["body"], "response": completion()} | fields


@pytest.fixture
def requests_file(tmp_path):
    def write(*lines):
        path = tmp_path / "input.jsonl"
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        return str(path)

    return write


def test_the_requests_and_answers_of_a_batch_are_joined(requests_file):
    requests = requests_file(
        request() | {"custom_id": "r2", "body": {"model": "m", "input": "And a trie?"}},
        request(user="bob"),
        "nonsense",
    )
    response = {"object": "response", "created_at": 1793612000, "model": "m-1", "id": "resp_1"}
    said = {"type": "message", "role": "assistant"}
    said["content"] = [{"type": "output_text", "text": "Of prefixes."}]
    usage = {"input_tokens": 5, "output_tokens": 6}
    second = response | {"output": [{"type": "reasoning"}, said], "usage": usage}
    found = read(
        openai,
        output(),
        output(id="batch_req_2", custom_id="r2", response={"status_code": 200, "body": second}),
        requests_file=requests,
    )
    assert texts(found) == [("What is a heap?", "A tree."), ("And a trie?", "Of prefixes.")]
    assert [(one.call_id, one.user_id, one.input_tokens, one.model) for one in found] == [
        ("batch_req_1", "bob", 111, "m-1"),
        ("batch_req_2", "ada", 5, "m-1"),
    ]
    assert found[0].started_at == datetime.fromtimestamp(1793612000, UTC) == found[0].ended_at


@pytest.mark.parametrize(
    "line",
    [
        pair(),
        pair(request=request()),
        {"request": request(), "response": output()["response"], "id": "chatcmpl-1"},
    ],
)
def test_both_in_one_line(line):
    found = only(read(openai, line))
    assert (found.message, found.response, found.call_id) == (
        "What is a heap?",
        "A tree.",
        "chatcmpl-1",
    )


LEFT_OUT = {
    "no file of requests": (output(), [], "invalid", "--requests FILE"),
    "no request": (output(custom_id="r7"), [request()], "invalid", "no line with its custom_id"),
    "two requests": (output(), [request(), request()], "invalid", "or more than one"),
    "no custom_id": (output(custom_id=None), [request()], "invalid", "nor a custom_id"),
    "an error": (output(response=None, error={"code": "x"}), [request()], "failed", ""),
    "a status": (
        output(response={"status_code": 429, "body": {"error": {"message": "slow down"}}}),
        [request()],
        "failed",
        "",
    ),
    "embeddings": (
        output(response={"status_code": 200, "body": {"object": "list", "data": []}}),
        [request()],
        "no_call",
        "",
    ),
    "no time": (pair(response=completion(created=None)), [], "invalid", "created in seconds"),
}


@pytest.mark.parametrize(("line", "lines", "label", "detail"), LEFT_OUT.values(), ids=LEFT_OUT)
def test_what_is_left_out_of_a_batch(requests_file, line, lines, label, detail):
    found = only(read(openai, line, requests_file=requests_file(*lines) if lines else None))
    assert (found.reason.label, found.place) == (label, "line 1")
    assert detail in found.detail


# Langfuse

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def observation(**fields):
    return {
        "id": SPAN,
        "traceId": TRACE,
        "type": "GENERATION",
        "startTime": "2026-11-02T09:30:00.123Z",
        "endTime": "2026-11-02T09:30:02.000Z",
        "level": "DEFAULT",
        "userId": "bob",
        "model": "m-1",
        "input": [{"role": "user", "content": "What is a heap?"}],
        "output": {"role": "assistant", "content": "A tree."},
        "usageDetails": {"input": 100, "input_cached_tokens": 11, "output": 22, "total": 133},
    } | fields


WANTED = ModelCall(
    call_id=f"otel-{TRACE}-{SPAN}",
    user_id="bob",
    message="What is a heap?",
    response="A tree.",
    model="m-1",
    started_at=datetime(2026, 11, 2, 9, 30, 0, 123000, UTC),
    ended_at=datetime(2026, 11, 2, 9, 30, 2, 0, UTC),
    input_tokens=111,
    output_tokens=22,
    place="line 1",
)


def cell(value):
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value)


def in_csv(*observations):
    text = io.StringIO()
    writer = csv.DictWriter(text, observations[0], quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writeheader()
    for one in observations:
        writer.writerow({name: cell(value) for name, value in one.items()})
    return text.getvalue().encode()


def in_bucket(**fields):
    """As an export to a bucket has it: as it is in ClickHouse, which writes counts as texts.

    What was said is as it was sent, and times have no offset.
    """
    found = observation()
    return {
        "id": found["id"],
        "trace_id": found["traceId"],
        "type": found["type"],
        "start_time": "2026-11-02 09:30:00.123000",
        "end_time": "2026-11-02 09:30:02.000000",
        "user_id": found["userId"],
        "provided_model_name": found["model"],
        "input": json.dumps({"messages": found["input"]}),
        "output": json.dumps(found["output"]),
        "usage_details": {name: str(count) for name, count in found["usageDetails"].items()},
    } | fields


EXPORTS = {
    "lines of the interface": json.dumps(observation()).encode(),
    "the array of the interface": json.dumps([observation()]).encode(),
    "CSV of the interface": in_csv(observation(), observation(type="SPAN")),
    "CSV of Langfuse 3.146 to 3.156": in_csv(
        {name: json.dumps(cell(value)) for name, value in observation().items()}
    ),
    "CSV of the same, of what it has as objects": in_csv(
        {name: json.dumps(value) for name, value in observation().items()}
    ),
    "a page of the API": json.dumps({"data": [observation()], "meta": {"cursor": "x"}}).encode(),
    "pages of the API over several lines": b"".join(
        json.dumps({"data": data, "meta": {}}, indent=2).encode() for data in ([observation()], [])
    ),
    "lines in a bucket": json.dumps(in_bucket()).encode(),
    "CSV in a bucket": in_csv(in_bucket()),
}


def test_a_text_in_quotation_marks_keeps_them():
    assert texts(read(langfuse, in_csv(observation(output='"A tree."')))) == [
        ("What is a heap?", '"A tree."')
    ]


@pytest.mark.parametrize("content", EXPORTS.values(), ids=EXPORTS)
def test_the_exports_of_langfuse(content):
    found = [one for one in read(langfuse, content) if isinstance(one, ModelCall)]
    assert [getattr(found[0], name) for name in WANTED.__slots__ if name != "place"] == [
        getattr(WANTED, name) for name in WANTED.__slots__ if name != "place"
    ]
    assert len(found) == 1


OBSERVATIONS = {
    "another observation": ({"type": "SPAN"}, "no_call"),
    "a failure": ({"level": "ERROR", "output": None}, "failed"),
    "no end": ({"endTime": None, "output": None}, "no_end"),
    "no text": ({"input": None}, "no_text"),
    "no answer": ({"output": {}}, "no_text"),
    "cut": ({"input": '[{"role": "user", "content": "What is'}, "cut"),
    "no time": ({"startTime": "soon"}, "invalid"),
    "no id": ({"id": ""}, "invalid"),
    "arguments of a function": ({"input": {"args": [1], "kwargs": {}}}, "no_text"),
}


@pytest.mark.parametrize(("fields", "label"), OBSERVATIONS.values(), ids=OBSERVATIONS)
def test_what_is_left_out_of_langfuse(fields, label):
    assert reasons(read(langfuse, observation(**fields))) == [label]


def test_traces_are_no_observations():
    trace = {"id": "x", "timestamp": "2026-11-02T09:30:00.123Z", "input": "a", "output": "b"}
    assert "not traces" in only(read(langfuse, trace)).detail


SAID = {
    "a bare text": ("What is a heap?", "A tree.", ("What is a heap?", "A tree.")),
    "a text that was read as a number": (42, 43.5, ("42", "43.5")),
    "JSON that a model was asked for": ("x", {"answer": 42}, ("x", '{"answer":42}')),
    "a list that a model was asked for": ("x", ["red", "green"], ("x", '["red","green"]')),
    "a list of objects": ("x", [{"name": "Ada"}], ("x", '[{"name":"Ada"}]')),
    "a list of messages": ("x", [{"role": "assistant", "content": "y"}], ("x", "y")),
    "a request": ({"model": "m", "messages": [{"role": "user", "content": "a"}]}, "b", ("a", "b")),
    "a whole answer": ("a", completion(), ("a", "A tree.")),
}


@pytest.mark.parametrize(("asked", "answered", "wanted"), SAID.values(), ids=SAID)
def test_what_langfuse_has_of_a_call(asked, answered, wanted):
    assert texts(read(langfuse, observation(input=asked, output=answered))) == [wanted]


STRUCTURED = [
    {"name": "Ada", "role": "engineer"},
    [{"name": "Ada", "role": "engineer"}, {"name": "Bob", "role": "cook"}],
    {"type": "circle", "radius": 3},
    {"choices": ["red", "green"]},
    {"candidates": [{"name": "Ada"}]},
    {"output": [1, 2]},
    {"output": "red"},
]


@pytest.mark.parametrize("answer", STRUCTURED, ids=json.dumps)
def test_json_that_a_model_was_asked_for_is_the_answer_as_a_whole(answer):
    """Though it has names that an API uses, too: it was stored as an empty answer."""
    for content in (
        json.dumps(observation(output=answer)).encode(),
        in_csv(observation(output=json.dumps(answer))),
    ):
        ((_, response),) = texts(read(langfuse, content))
        assert json.loads(response) == answer


@pytest.mark.parametrize("answer", STRUCTURED[:2], ids=json.dumps)
def test_json_that_a_user_sends_is_a_message(answer):
    sent = json.dumps(answer)
    assert texts(read(langfuse, observation(input=sent))) == [(sent, "A tree.")]


@pytest.mark.parametrize("form", [json.dumps, lambda one: one], ids=["text", "JSON"])
def test_the_content_of_an_answer_may_come_without_its_message(form):
    parts = [{"type": "thinking", "thinking": "Hm"}, {"type": "text", "text": "A tree."}]
    assert texts(read(langfuse, observation(output=form(parts)))) == [
        ("What is a heap?", "A tree.")
    ]


@pytest.mark.parametrize("form", [json.dumps, lambda one: one], ids=["text", "JSON"])
@pytest.mark.parametrize("kind", ["function_call", "web_search_call"])
def test_an_answer_may_be_the_list_of_the_responses_api(form, kind):
    items = [
        {"type": kind, "id": "x", "call_id": "y"},
        {"type": "message", "content": [{"type": "output_text", "text": "A tree."}]},
    ]
    assert texts(read(langfuse, observation(output=form(items)))) == [
        ("What is a heap?", "A tree.")
    ]


@pytest.mark.parametrize("form", [json.dumps, lambda one: one], ids=["text", "JSON"])
@pytest.mark.parametrize("field", ["reasoning_content", "audio"])
def test_an_answer_in_which_no_text_is_said_is_empty(form, field):
    """Libraries leave out a `content` of null."""
    answer = {"role": "assistant", field: "Hm"}
    assert texts(read(langfuse, observation(output=form(answer)))) == [("What is a heap?", "")]


@pytest.mark.parametrize("answer", ['{"a": 1}\n{"a": 2}', '{"a": 1} as you wished', '["a"], yes'])
def test_json_with_something_behind_it_is_a_text_and_not_cut(answer):
    for content in (
        json.dumps(observation(output=answer)).encode(),
        in_csv(observation(output=answer)),
    ):
        assert texts(read(langfuse, content)) == [("What is a heap?", answer)]


def test_other_ids_and_users_and_counts_of_langfuse():
    found = only(
        read(
            langfuse,
            observation(
                id="my-id", userId="", usageDetails={}, promptTokens=7, completionTokens="8"
            ),
        )
    )
    assert (found.call_id, found.user_id) == (f"langfuse-{TRACE}-my-id", "ada")
    assert (found.input_tokens, found.output_tokens) == (7, 8)


@pytest.mark.parametrize("before", ["", '"\\\\", "]]]", "\\"]", ', '"%s", ' % ("]" * 300_000)])
def test_what_is_nested_too_deeply_is_refused(before):
    for depth, too_deep in ((490, False), (510, True)):
        content = f'[[{before}{"[" * depth}{"]" * depth}, "["], {json.dumps(observation())}]'
        if too_deep:
            with pytest.raises(BrokenFile, match="more than 500 levels"):
                read(langfuse, content.encode())
        else:
            assert isinstance(read(langfuse, content.encode())[1], ModelCall)


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_brackets_in_texts_do_not_count(monkeypatch, size):
    """Whatever is read at once, such as half of an escaped quotation mark."""
    monkeypatch.setattr(entries, "_BUFFER", size)
    text = '\\"[[{{\\' * 100
    content = json.dumps([observation(output=text), {"[": text}, observation(output=text)])
    found = read(langfuse, content.encode())
    assert [isinstance(one, ModelCall) for one in found] == [True, False, True]


def test_a_broken_csv_is_refused():
    with pytest.raises(BrokenFile, match="no CSV: not UTF-8"):
        read(langfuse, b"id,type\n\xff,b\n")
    with pytest.raises(BrokenFile, match="no CSV"):
        read(langfuse, b'id,type\n"a"b,c\n')


def test_a_csv_that_was_cut_short_is_refused():
    """Half an answer would pass for the whole, and conflict with it when that is imported."""
    last = observation(id="c" * 16, output='He said "a tree", and more.', usageDetails=None)
    whole = in_csv(observation(), last)
    begun = whole.index(last["id"].encode())
    for end in range(begun, whole.rindex(b"more.")):
        found = langfuse.read(io.BytesIO(whole[:end]), "ada")
        assert isinstance(next(found), ModelCall)
        with pytest.raises(BrokenFile, match="After row 1 it is no CSV"):
            next(found)
    assert len(read(langfuse, whole.rstrip())) == 2, "the last line break may be missing"
    assert reasons(read(langfuse, b"id,type\na\n")) == ["no_call"]


def test_times_far_away_are_left_out_or_cut():
    assert reasons(read(llm, entry(datetime_utc="9999-12-31T23:59:59-14:00"))) == ["invalid"]
    far = only(read(llm, entry(duration_ms=10**30)))
    assert far.ended_at == far.started_at
    assert only(read(llm, entry(duration_ms=1.5))).ended_at - far.started_at == timedelta(
        microseconds=1500
    )


@pytest.mark.parametrize("reader", READERS.values(), ids=READERS)
@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_is_named(reader, encoding):
    """Windows PowerShell writes what a program prints in it."""
    with pytest.raises(BrokenFile, match="UTF-16; convert it to UTF-8"):
        list(reader.read(io.BytesIO("\ufeff[]".encode(encoding)), "ada"))
