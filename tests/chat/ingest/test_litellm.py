"""What LiteLLM's callback `generic_api` sends, recorded and made up."""

import gzip
import json
import random

import orjson
import pytest
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from chat.ingest import keeping, litellm_view
from chat.ingest.calls import LeftOut, ModelCall
from chat.ingest.interactions import interactions
from chat.ingest.litellm import translate
from storage import limits
from storage.exceptions import StorageFull, StorageUnavailable
from storage.models import ApiKey
from tests.chat.calls import PROBLEM
from tests.chat.ingest.otlp import BODIES
from tests.tools.conversations import (
    ANSWERED_BY,
    CASES,
    INPUT_TOKENS,
    MODEL,
    OUTPUT_TOKENS,
    left_text,
)

LITELLM = "/api/v1/ingest/litellm/"
LIBRARY, PROXY, REDACTED = "litellm-1.110.2", "litellm-proxy-1.110.2", "litellm-1.110.2-redacted"
RECORDED = [
    (path.parent.name, path.stem)
    for tool in (LIBRARY, PROXY, REDACTED)
    for path in sorted((BODIES / tool).iterdir())
]
GUESSED = {"stream": (22, 6), "refusal_stream": (26, 0)}
"""The library asks for no usage of a stream, and counts by itself."""

GONE_ON = "One, two, three, four, five, six, seven, eight, nine, ten."
"""The proxy has read on when its client left."""


def recorded(tool, case):
    return orjson.loads((BODIES / tool / f"{case}.json").read_bytes())


def record(**fields):
    """A sound record; every field can be given, and None leaves one out."""
    sound = {
        "id": "chatcmpl-1",
        "litellm_call_id": "call-1",
        "call_type": "acompletion",
        "status": "success",
        "stream": None,
        "prompt_tokens": 111,
        "completion_tokens": 22,
        "startTime": 1793612000.123456,
        "endTime": 1793612002.5,
        "model": "openai/m",
        "model_group": "m",
        "end_user": "ada",
        "messages": [{"role": "user", "content": "What is a heap?"}],
        "response": {
            "model": "m-1",
            "choices": [{"message": {"role": "assistant", "content": "A tree."}}],
        },
        "metadata": {},
        "model_parameters": {},
    }
    return {name: value for name, value in (sound | fields).items() if value is not None}


def answered(**message):
    return {"choices": [{"message": {"role": "assistant"} | message}]}


def post(client, body, **headers):
    content = body if isinstance(body, bytes) else orjson.dumps(body)
    return client.post(LITELLM, content, content_type="application/json", **headers)


def told(response):
    """What an answer says: numbers, and the reasons."""
    assert response.status_code == 200, response.content
    found = response.json()
    assert found["received"] == sum(
        found[name] for name in ("created", "unchanged", "left_out_count")
    )
    return found["created"], found["unchanged"], [one["reason"] for one in found["left_out"]]


def stored(storage, user_id="ada"):
    found = storage.get_user_interactions_sync(user_id, 1000)
    fields = ("message", "response", "model_used", "input_tokens", "output_tokens")
    return sorted(tuple(getattr(one, name) for name in fields) for one in found)


def expected(tool, case):
    """What should be made of a recorded body, and the reasons for what is left out."""
    conversation = CASES[case]
    if conversation.fails:
        return [], ["failed"]
    if tool == REDACTED:
        return [], ["redacted"]
    number = 2 if conversation.calls_tool else 1
    counts = (INPUT_TOKENS * number, OUTPUT_TOKENS * number)
    if tool == LIBRARY:
        counts = GUESSED.get(case, counts)
    if case == "no_usage":
        counts = (0, 0)
    answer = conversation.refusal or conversation.answer
    if case == "refusal_stream":
        answer = ""
    if case == "left":
        answer = GONE_ON if made_response(tool, case) == GONE_ON else left_text(case)
    streams_chat = conversation.streamed and not conversation.responses
    model = MODEL if tool == PROXY or streams_chat else ANSWERED_BY
    made = (conversation.question, answer, model, *counts)
    return [made], ["tool_step"] if conversation.calls_tool else []


def made_response(tool, case):
    return next(one[1].response for one in made_of(recorded(tool, case)))


def made_of(records):
    records = records if isinstance(records, list) else [records]
    return list(interactions((translate(one, "") for one in records), None))


@pytest.mark.parametrize(("tool", "case"), RECORDED)
def test_a_recorded_body(tool, case):
    found = made_of(recorded(tool, case))
    made = [one[1] for one in found if not isinstance(one, LeftOut)]
    assert [
        (one.message, one.response, one.model_used, one.input_tokens, one.output_tokens)
        for one in made
    ] == expected(tool, case)[0]
    assert [one.reason.label for one in found if isinstance(one, LeftOut)] == expected(tool, case)[
        1
    ]
    assert {one.user_id for one in made} <= {"ada"}
    assert all(one.created_at <= one.updated_at for one in made)


@pytest.mark.every_backend
def test_all_recorded_bodies_in_any_parts_are_stored_once(client, storage, intake):
    records = []
    for tool, case in RECORDED:
        body = recorded(tool, case)
        records += body if isinstance(body, list) else [body]
    wanted = sorted(kept for tool, case in RECORDED for kept in expected(tool, case)[0])
    lines = b"\n".join(map(orjson.dumps, records))
    created, unchanged, _ = told(post(client, lines))
    assert (created, unchanged) == (len(wanted), 0)
    assert stored(storage) == wanted
    random.Random(3).shuffle(records)
    half = len(records) // 2
    for part in (records[half:], records[:half], records[::-1]):
        created, _, reasons = told(post(client, part))
        assert created == 0
        assert "conflict" not in reasons
    assert stored(storage) == wanted
    assert intake["litellm", "created"] == len(wanted)
    assert intake["litellm", "received"] == 3 * len(records)


FORMS = {
    "array": lambda records: orjson.dumps(records),
    "lines": lambda records: b"\n".join(map(orjson.dumps, records)),
    "lines with an end, and blank ones": lambda records: (
        b"\r\n".join(map(orjson.dumps, records)) + b"\n\n \n"
    ),
    "an array over several lines": lambda records: orjson.dumps(
        records, option=orjson.OPT_INDENT_2
    ),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_the_forms_of_a_body(client, storage, form):
    records = [record(litellm_call_id=f"c{number}") for number in range(3)]
    assert told(post(client, form(records))) == (3, 0, [])
    packed = gzip.compress(form(records))
    assert told(post(client, packed, headers={"content-encoding": "gzip"})) == (0, 3, [])


@pytest.mark.parametrize("option", [0, orjson.OPT_INDENT_2])
def test_a_single_object(client, storage, option):
    assert told(post(client, orjson.dumps(record(), option=option))) == (1, 0, [])


def test_the_slash_at_the_end_may_be_missing(client, storage):
    response = client.post(LITELLM.rstrip("/"), [record()], content_type="application/json")
    assert told(response) == (1, 0, [])


@pytest.mark.every_backend
def test_single_bad_records_harm_no_other(client, storage, monkeypatch):
    monkeypatch.setattr(limits, "TEXT_MAX_BYTES", 390_000)
    bad = [
        ("invalid", 7),
        ("invalid", []),
        ("invalid", record(litellm_call_id="a\0b")),
        ("no_call", record(call_type="aembedding")),
        ("failed", record(status="failure", response={})),
        ("invalid", {"status": "success"}),
        ("invalid", record(startTime="yesterday")),
        ("no_user", record(end_user="")),
        ("no_text", record(messages=None)),
        ("no_message", record(messages=[{"role": "system", "content": "Be brief."}])),
        ("no_model", record(model="", model_group="", response=answered(content="A tree."))),
        ("too_long", record(response=answered(content="x" * 400_000))),
        ("redacted", record(response=answered(content="redacted-by-litellm"))),
    ]
    records = [one for _, one in bad]
    records.insert(5, record(litellm_call_id="good 1"))
    records.append(record(litellm_call_id="good 2"))
    created, unchanged, reasons = told(post(client, records))
    assert (created, unchanged, sorted(reasons)) == (2, 0, sorted(label for label, _ in bad))
    left_out = post(client, records).json()["left_out"]
    assert all(one["remedy"] and one["place"].startswith("record ") for one in left_out)


def test_a_long_list_of_what_is_left_out_ends_and_is_counted(client, storage):
    found = post(client, [7] * 300).json()
    assert (found["left_out_count"], len(found["left_out"])) == (300, litellm_view.LISTED)


def test_what_python_writes_and_json_has_not(client, storage):
    strange = record(
        litellm_call_id="nan",
        response_cost=float("nan"),
        messages=[{"role": "user", "content": 'Is "NaN" or -Infinity a number? {"a": NaN}'}],
    )
    lone = record(litellm_call_id="lone", messages=[{"role": "user", "content": "a\ud800b 🗾"}])
    huge = record(litellm_call_id="huge", response_cost=10**40)
    records = [strange, lone, huge, record()]
    assert told(post(client, json.dumps(records).encode())) == (4, 0, [])
    assert told(post(client, "\n".join(map(json.dumps, records)).encode())) == (0, 4, [])
    assert storage.get_interaction_sync("lone").message == "a\ufffdb 🗾"
    kept = storage.get_interaction_sync("nan")
    assert kept.message == 'Is "NaN" or -Infinity a number? {"a": NaN}'


UNREADABLE = {
    "nothing": (b" \n", "empty"),
    "no JSON": (b"[1, 2", "not JSON"),
    "cut off": (json.dumps([record()]).encode()[:-9], "not JSON"),
    "trailing": (b"[] []", "not JSON"),
    "no UTF-8": (b'["\xff"', "not JSON"),
    "deep": (b"[" * 100_000, "not JSON"),
    "truncated gzip": (gzip.compress(b"[]")[:-5], "cut off"),
}


@pytest.mark.parametrize(("body", "reason"), UNREADABLE.values(), ids=UNREADABLE)
def test_a_body_that_cannot_be_read_is_refused_whole(client, storage, intake, body, reason):
    packed = {"headers": {"content-encoding": "gzip"}} if body[:2] == b"\x1f\x8b" else {}
    response = post(client, body, **packed)
    assert (response.status_code, response["Content-Type"]) == (400, PROBLEM)
    assert reason in response.json()["detail"]
    assert intake["litellm", "unreadable"] == 1


def test_lines_of_nonsense_are_records_of_nonsense(client, storage):
    body = b"nonsense\n" + orjson.dumps(record()) + b"\n{"
    assert told(post(client, body)) == (1, 0, ["invalid", "invalid"])


def test_too_many_records_are_too_large(client, storage, monkeypatch):
    monkeypatch.setattr(litellm_view, "RECORDS", 3)
    litellm_view._array_decoder.cache_clear()
    records = [record(litellm_call_id=f"c{number}") for number in range(4)]
    for form in (FORMS["array"], FORMS["lines"]):
        response = post(client, form(records))
        assert response.status_code == 413
        assert "DEFAULT_BATCH_SIZE" in response.json()["detail"]
    assert stored(storage) == []
    assert told(post(client, FORMS["array"](records[:3]))) == (3, 0, [])
    litellm_view._array_decoder.cache_clear()


def test_a_record_that_is_too_large_harms_no_other(client, storage):
    large = record(litellm_call_id="c1", note="x" * litellm_view.RECORD_BYTES_MAX)
    assert told(post(client, [large, record(litellm_call_id="c2")])) == (1, 0, ["too_long"])
    assert len(stored(storage)) == 1


@pytest.mark.parametrize("error", [StorageUnavailable(), StorageFull(), KeyError()])
def test_our_own_faults_ask_to_come_again_soon(client, monkeypatch, storage, error):
    def fail(*arguments):
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(keeping, "get_storage", fail)
        client.raise_request_exception = False
        response = post(client, [record()])
    assert response.status_code == 503
    assert 1 <= int(response["Retry-After"]) <= 3
    assert told(post(client, [record()])) == (1, 0, [])


def test_too_many_calls_are_told_as_busy(client, storage, settings):
    settings.RATE_LIMIT_PER_KEY = 1
    statuses = {post(client, [record()]).status_code for _ in range(5)}
    assert statuses == {200, 503}


@pytest.mark.every_backend
def test_whose_key_it_is_counts_more_than_what_the_record_says(make_client, storage):
    assert told(post(make_client("bob"), [record(end_user="ada")])) == (1, 0, [])
    assert (len(stored(storage, "bob")), stored(storage, "ada")) == (1, [])


def test_only_an_api_key_may_send(storage, admin_client):
    assert post(Client(), [record()]).status_code == 401
    assert post(admin_client, [record()]).status_code == 403
    key = ApiKey.objects.create_key(name="test")[1]
    bearer = Client(headers={"Authorization": f"Bearer {key}"})
    assert post(bearer, [record()]).status_code == 401  # headers of generic_api are free to choose


USERS = {
    "the end user": ({"end_user": "ada"}, "ada"),
    "the parameter": ({"end_user": None, "model_parameters": {"user": "ada"}}, "ada"),
    "the key's end user": (
        {"end_user": "", "metadata": {"user_api_key_end_user_id": "ada"}},
        "ada",
    ),
    "the key's user": ({"end_user": None, "metadata": {"user_api_key_user_id": "ada"}}, "ada"),
    "the master key": (
        {"end_user": None, "metadata": {"user_api_key_user_id": "default_user_id"}},
        None,
    ),
    "the end user before others": (
        {"model_parameters": {"user": "bob"}, "metadata": {"user_api_key_user_id": "eve"}},
        "ada",
    ),
    "nobody": ({"end_user": 7, "model_parameters": [], "metadata": None}, None),
}


@pytest.mark.parametrize(("fields", "user_id"), USERS.values(), ids=USERS)
def test_the_user(fields, user_id):
    assert translate(record(**fields), "").user_id == user_id


MODELS = {
    "that answered": ({}, "m-1"),
    "of a stream the group": ({"stream": True}, "m"),
    "of a stream without a group": ({"stream": True, "model_group": ""}, "openai/m"),
    "of a streamed answer of the Responses API": (
        {"stream": True, "response": {"object": "response", "model": "m-2", "output": []}},
        "m-2",
    ),
}


@pytest.mark.parametrize(("fields", "model"), MODELS.values(), ids=MODELS)
def test_the_model(fields, model):
    assert translate(record(**fields), "").model == model


def test_a_hit_of_the_cache_is_a_call_of_its_own():
    first = translate(record(), "")
    hit = translate(
        record(litellm_call_id="call-2", id="chatcmpl-1_cache_hit1793612003.5", cache_hit=True), ""
    )
    assert (first.call_id, hit.call_id) == ("call-1", "call-2")


def test_an_id_that_is_too_long_is_made_shorter_and_stays_the_same():
    long = record(litellm_call_id=None, id="resp_" + "x" * 400)
    one, again = translate(long, ""), translate(long, "")
    assert one.call_id == again.call_id
    assert len(one.call_id) < 100
    other = translate(long | {"id": long["id"] + "y"}, "")
    assert other.call_id != one.call_id


def test_a_mark_of_a_cut_image_stays_and_parts_of_text_are_joined():
    content = [
        {"type": "text", "text": "See [base64_data truncated: 2.9KB]"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,[base64_data ...]"}},
        {"type": "text", "text": "What is it?"},
    ]
    found = translate(record(messages=[{"role": "user", "content": content}]), "")
    assert found.message == "See [base64_data truncated: 2.9KB]\nWhat is it?"


def test_a_text_that_a_logger_has_cut():
    text = "[{'role': 'user'...truncated by litellm, this logger does not support large content"
    assert translate(record(messages=text), "").reason.label == "cut"


def test_a_stream_that_was_left_keeps_what_had_arrived():
    left = record(error_str="Client disconnected the request", response=answered(content="A tr"))
    assert translate(left, "").response == "A tr"


def test_a_redacted_answer_in_several_parts():
    parts = [{"type": "output_text", "text": "redacted-by-litellm"}] * 2
    output = [{"type": "message", "role": "assistant", "content": parts}]
    assert translate(record(response={"output": output}), "").reason.label == "redacted"


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["role", "content", "type", "text", "choices", "message", "output", "user", "model"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)


@given(
    VALUES | st.dictionaries(st.sampled_from(sorted(record())), VALUES).map(lambda d: record(**d))
)
def test_whatever_a_record_is_it_is_a_call_or_left_out(value):
    (made,) = interactions([translate(value, "record 1")], None)
    assert isinstance(made, LeftOut) or isinstance(made[0], ModelCall)
