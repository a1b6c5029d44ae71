"""OTLP over HTTP, as exporters see it."""

import base64
from datetime import UTC, datetime

import orjson
import pytest
from django.test import Client

from chat.ingest import keeping
from storage.exceptions import StorageFull, StorageUnavailable
from storage.models import ApiKey
from tests.chat.ingest import otlp
from tests.chat.ingest.otlp import (
    JSON,
    LANGFUSE,
    LOGS,
    PROTOBUF,
    TRACE,
    TRACES,
    chat,
    error,
    json_span,
    packed,
    partial,
    post,
    span,
    stored,
    traces,
    traces_json,
)

pytestmark = pytest.mark.every_backend

KEPT = ("What is a heap?", "A tree.", "m-1", 111, 22)


def test_a_span_becomes_an_interaction(client, storage, intake):
    assert partial(post(client, traces(span(7)))) == (0, "")
    (found,) = storage.get_user_interactions_sync("ada", 10)
    assert found.interaction_id == f"otel-{TRACE}-0000000000000007"
    assert stored(storage) == [KEPT]
    assert found.created_at == datetime.fromtimestamp(otlp.START // 10**9, UTC).replace(
        microsecond=123456
    )
    assert (found.updated_at - found.created_at).total_seconds() == 2
    assert intake == {("otlp", "received"): 1, ("otlp", "created"): 1, ("otlp", "unchanged"): 0}


def test_json_and_protobuf_are_the_same_and_what_comes_again_changes_nothing(client, storage):
    assert partial(post(client, traces_json(json_span(1), json_span(2)), media_type=JSON)) == (
        0,
        "",
    )
    assert partial(post(client, traces(span(2), span(1)))) == (0, "")
    upper = json_span(1, traceId=TRACE.upper(), startTimeUnixNano=otlp.START)
    response = post(client, traces_json(upper), media_type="application/json; charset=utf-8")
    assert partial(response) == (0, "")
    assert stored(storage) == [KEPT, KEPT]


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_compressed_bodies(client, storage, encoding):
    assert partial(packed(client, traces(span(1)), encoding)) == (0, "")
    assert partial(packed(client, traces_json(json_span(2)), encoding, media_type=JSON)) == (0, "")
    assert stored(storage) == [KEPT, KEPT]


def test_a_slash_at_the_end_is_no_redirect(client, storage):
    assert partial(post(client, traces(span()), path=f"{TRACES}/")) == (0, "")
    assert partial(post(client, b"", path=f"{LOGS}/")) == (0, "")
    assert stored(storage) == [KEPT]


def test_what_is_left_out_is_told_with_its_remedy(client, storage, intake):
    spans = [
        span(1),
        span(2, chat(gen_ai__input__messages=None, gen_ai__output__messages=None)),
        span(3, {"http.request.method": "GET"}),
        span(4, chat(user__id=None, gen_ai__request__model="m" * 300), trace_id=b"u" * 16),
    ]
    rejected, text = partial(post(client, traces(*spans)))
    assert rejected == 2
    assert "1 no_text: The tool sent no text." in text
    assert "CAPTURE_MESSAGE_CONTENT=SPAN_ONLY" in text
    assert "1 no_user: Say whose call it is" in text
    assert "no_call" not in text
    assert intake["otlp", "no_call"] == 1
    assert intake["otlp", "received"] == 4
    assert stored(storage) == [KEPT]
    response = post(client, traces_json(json_span(5, chat(user__id=None))), media_type=JSON)
    assert response.json()["partialSuccess"]["rejectedSpans"] == "1"
    (detail,) = [partial(post(client, traces(span(6, chat(gen_ai__response__model="m" * 300)))))[1]]
    assert "0000000000000006: model_used must have 1 to 255 characters; it has 300." in detail


def test_the_user_of_a_trace_is_known_from_any_of_its_spans(client, storage):
    unnamed = chat(user__id=None)
    spans = [
        span(1, unnamed),
        span(2, {"user.id": "ada"}),
        span(3, unnamed, trace_id=b"other trace 1234"),
        span(4, unnamed, trace_id=b"of two users 123"),
        span(5, {"user.id": "ada"}, trace_id=b"of two users 123"),
        span(6, {"enduser.id": "bob"}, trace_id=b"of two users 123"),
    ]
    assert partial(post(client, traces(*spans)))[0] == 2
    assert stored(storage) == [KEPT]


def test_the_user_of_a_bound_key_wins(make_client, storage):
    response = post(make_client("grace"), traces(span(1), span(2, chat(user__id=None))))
    assert partial(response) == (0, "")
    assert stored(storage, "grace") == [KEPT, KEPT]
    assert stored(storage, "ada") == []


def test_equal_span_ids_of_two_traces_are_two_calls(client, storage):
    response = post(client, traces(span(1), span(1, trace_id=b"another trace 12")))
    assert partial(response) == (0, "")
    assert stored(storage) == [KEPT, KEPT]


def test_langfuse_shows_the_key_as_a_password(db, storage, intake):
    _, key = ApiKey.objects.create_key(name="test")
    body = otlp.recorded("langfuse-5.0.4/answer.traces.pb.gz")
    headers = {"HTTP_AUTHORIZATION": f"Basic {base64.b64encode(f'pk-lf:{key}'.encode()).decode()}"}
    assert partial(packed(Client(), body, "gzip", path=LANGFUSE, **headers)) == (0, "")
    headers = {"HTTP_AUTHORIZATION": f"Api-Key {key}"}
    assert partial(post(Client(), body, path=LANGFUSE, **headers)) == (0, "")
    assert len(stored(storage)) == 1
    assert intake["langfuse", "received"] == 2


@pytest.mark.parametrize(
    "header",
    ["", "Basic", "Basic ????", "Basic cGs6d3Jvbmc=", "Basic cGs=", "Basic /w==", "Api-Key wrong"],
)
@pytest.mark.parametrize("path", [TRACES, LANGFUSE])
@pytest.mark.on_sqlite("the same key on both")
def test_without_a_valid_key_nothing_is_read(db, path, header, intake):
    status, text = error(post(Client(), b"\0", path=path, HTTP_AUTHORIZATION=header))
    assert status == 401
    assert "key" in text
    assert not intake


@pytest.mark.on_sqlite("routing only")
@pytest.mark.parametrize("path", [TRACES, LOGS, LANGFUSE])
def test_other_methods(client, path):
    for method in ("get", "head", "put", "patch", "delete", "options"):
        response = getattr(client, method)(path)
        assert response.status_code == 405
        assert response["Allow"] == "POST"


@pytest.mark.on_sqlite("the same on both")
@pytest.mark.parametrize(
    ("failure", "seconds"),
    [
        (StorageUnavailable("away"), 1),
        (StorageFull("full"), 3),
        (RuntimeError("a bug with secret text"), 1),
    ],
)
@pytest.mark.parametrize("media_type", [PROTOBUF, JSON])
def test_our_own_faults_ask_to_send_again_soon(
    client, monkeypatch, caplog, failure, seconds, media_type, intake
):
    def keep(calls, user_id):
        raise failure

    monkeypatch.setattr("chat.ingest.views.keep", keep)
    response = post(client, b"{}" if media_type == JSON else b"", media_type=media_type)
    status, text = error(response)
    assert (status, response["Retry-After"]) == (503, str(seconds))
    assert "secret" not in text
    assert not intake
    assert caplog.records


@pytest.mark.on_sqlite("the same on both")
def test_a_key_that_calls_too_often_is_asked_to_send_again_soon(client, settings, storage, caplog):
    settings.RATE_LIMIT_PER_KEY = 1
    assert partial(post(client, traces(span(1)))) == (0, "")
    response = post(client, traces(span(2)))
    status, text = error(response)
    assert status == 503
    assert 1 <= int(response["Retry-After"]) <= 3
    assert "1 calls a minute" in text
    assert not caplog.records


def test_a_batch_that_is_saved_in_part_is_complete_after_it_is_sent_again(
    client, storage, monkeypatch
):
    monkeypatch.setattr(keeping, "BATCH_ITEMS", 1)
    create = type(storage).create_interactions_sync
    fails = iter([False, True])

    def failing(self, interactions):
        if next(fails, False):
            raise StorageUnavailable("away")
        return create(self, interactions)

    monkeypatch.setattr(type(storage), "create_interactions_sync", failing)
    body = traces(*(span(number) for number in range(1, 4)))
    assert post(client, body).status_code == 503
    assert partial(post(client, body)) == (0, "")
    assert stored(storage) == [KEPT] * 3


@pytest.mark.on_sqlite("the same on both")
def test_an_empty_request_is_a_success(client):
    for body, media_type in [(b"", PROTOBUF), (b"{}", JSON), (b'{"resourceSpans":[]}', JSON)]:
        assert partial(post(client, body, media_type=media_type)) == (0, "")
    for body, media_type in [(b"", PROTOBUF), (b"{}", JSON), (b'{"resourceLogs":[]}', JSON)]:
        assert partial(post(client, body, LOGS, media_type)) == (0, "")


@pytest.mark.on_sqlite("the same on both")
def test_no_text_of_users_in_logs_or_answers(client, caplog):
    secret = chat(gen_ai__input__messages=otlp.said("my secret\0"), user__id="secretary")
    response = post(client, traces(span(1, secret), span(2, chat(user__id="secret" * 99))))
    assert partial(response)[0] == 2
    assert b"secret" not in response.content
    assert "secret" not in caplog.text
    body = orjson.dumps({"resourceSpans": [{"scopeSpans": [{"spans": ["secret"]}]}]})
    assert b"secret" not in post(client, body, media_type=JSON).content
