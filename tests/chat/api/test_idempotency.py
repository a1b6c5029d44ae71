"""The `Idempotency-Key` header: a request that is repeated takes effect once."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from time import sleep
from uuid import uuid4

import pytest
from django.db import connections
from django.utils import timezone

from storage import limits
from storage.models import IdempotencyRecord
from storage.sqlite import idempotency_keys
from tests.chat.calls import (
    BATCH,
    INTERACTIONS,
    LOOKUP,
    PROBLEM,
    ids,
    new,
    of_user,
    one,
    patch,
    post,
)

pytestmark = pytest.mark.every_backend


def send(client, key, **fields):
    return post(client, new(**fields), HTTP_IDEMPOTENCY_KEY=key)


def test_a_repeat_gives_what_the_first_request_made(client):
    first, again = send(client, "k"), send(client, "k")
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.content == first.content
    assert ids(client.get(INTERACTIONS)) == [first.json()["interaction_id"]]


def test_a_repeat_says_that_it_is_one(client):
    assert "Idempotent-Replayed" not in send(client, "k").headers
    assert send(client, "k")["Idempotent-Replayed"] == "true"


def test_fifty_repeats_at_the_same_moment_make_one_interaction(server):
    user_id = f"user-{uuid4()}"
    body = json.dumps(new(user_id=user_id)).encode()
    headers = {
        "Authorization": f"Api-Key {server.key}",
        "Content-Type": "application/json",
        "Idempotency-Key": str(uuid4()),
    }
    together = Barrier(50)

    def repeat(_):
        together.wait()
        status, _, answer = server.request("POST", INTERACTIONS, body, headers)
        return status, answer

    with ThreadPoolExecutor(50) as threads:
        answers = set(threads.map(repeat, range(50)))
    assert len(answers) == 1
    ((status, answer),) = answers
    assert status == 201
    assert server.call("GET", of_user(user_id))[1]["results"] == [json.loads(answer)]


def test_repeats_that_overlap_make_one_interaction(storage, make_client, monkeypatch):
    """None may look for the key while another one is between looking and saving."""
    find = idempotency_keys.find

    def find_slowly(*arguments):
        found = find(*arguments)
        sleep(0.1)
        return found

    monkeypatch.setattr(idempotency_keys, "find", find_slowly)
    client, together = make_client(), Barrier(4)

    def repeat(_):
        together.wait()
        try:
            return send(client, "k").content
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as threads:
        answers = set(threads.map(repeat, range(4)))
    assert len(answers) == 1
    assert len(ids(client.get(INTERACTIONS))) == 1


def test_another_body_with_the_same_key_is_refused(client):
    first = send(client, "k")
    response = send(client, "k", message="Another question")
    assert response.status_code == 422
    assert response["Content-Type"] == PROBLEM
    assert ids(client.get(INTERACTIONS)) == [first.json()["interaction_id"]]


def test_another_key_makes_another_interaction(client):
    first, second = send(client, "k").json(), send(client, "K").json()
    assert first["interaction_id"] != second["interaction_id"]


def test_two_callers_may_use_the_same_key(make_client):
    one_caller, other_caller = make_client(), make_client()
    first = send(one_caller, "k")
    second = send(other_caller, "k", message="Another question")
    assert (first.status_code, second.status_code) == (201, 201)
    assert second.json()["message"] == "Another question"


def test_a_repeat_after_the_interaction_was_deleted_is_gone(client):
    made = send(client, "k").json()
    client.delete(one(made["interaction_id"]))
    response = send(client, "k")
    assert response.status_code == 410
    assert response["Content-Type"] == PROBLEM
    assert ids(client.get(INTERACTIONS)) == []


def test_a_repeat_after_a_completion_makes_nothing_new(client):
    made = send(client, "k").json()
    completed = patch(client, made["interaction_id"], {"response": "A tree."}).json()
    assert send(client, "k").json() == completed
    assert len(ids(client.get(INTERACTIONS))) == 1


@pytest.mark.parametrize(
    "bad", [{"input_tokens": -1}, {"input_tokens": "5"}, {"other": 1}, {"message": "x" * 390_001}]
)
def test_an_invalid_body_does_not_use_up_the_key(client, bad, monkeypatch):
    monkeypatch.setattr(limits, "TEXT_MAX_BYTES", 390_000)
    assert send(client, "k", **bad).status_code == 400
    assert send(client, "k").status_code == 201


def test_a_conflict_does_not_use_up_the_key(client):
    post(client, new(interaction_id="taken"))
    assert send(client, "k", interaction_id="taken", message="Another").status_code == 409
    assert send(client, "k", interaction_id="free").status_code == 201


def test_a_refused_user_does_not_use_up_the_key(make_client):
    bound = make_client("ada")
    assert send(bound, "k", user_id="eve").status_code == 403
    assert send(bound, "k").status_code == 201


@pytest.mark.parametrize("key", ["k", "k" * 255, '"quoted"', "a b", "~"], ids=ascii)
def test_a_key_is_any_ascii_text_up_to_255_characters(client, key):
    first, again = send(client, key), send(client, key)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.content == first.content


@pytest.mark.parametrize("key", ["", "k" * 256, "née", "tab\t", "\x7f"], ids=ascii)
def test_another_key_is_told_what_it_must_be(client, key):
    response = send(client, key)
    assert response.status_code == 400
    assert "1 to 255 printable ASCII characters" in response.json()["detail"]
    assert ids(client.get(INTERACTIONS)) == []


def test_a_server_never_passes_over_a_key_that_it_cannot_read(server):
    """Its own HTTP library comes first. Without the key, a repeat would make a second row."""
    body = json.dumps(new(user_id=f"user-{uuid4()}")).encode()
    headers = {"Authorization": f"Api-Key {server.key}", "Content-Type": "application/json"}
    status, _, answer = server.request(
        "POST", INTERACTIONS, body, headers | {"Idempotency-Key": "née"}
    )
    assert status == 400, answer


def test_a_key_outlives_a_change_of_the_secret_key(client, settings):
    first = send(client, "k")
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "another"
    again = send(client, "k")
    assert (again.status_code, again["Idempotent-Replayed"]) == (201, "true")
    assert again.content == first.content
    assert send(client, "k", message="Another question").status_code == 422
    settings.SECRET_KEY_FALLBACKS = ["another", *settings.SECRET_KEY_FALLBACKS]
    settings.SECRET_KEY = "a third"
    assert send(client, "k").content == first.content
    assert ids(client.get(INTERACTIONS)) == [first.json()["interaction_id"]]


def test_a_key_that_is_new_after_a_change_counts_once(client, settings):
    # One of them may also be given twice.
    settings.SECRET_KEY_FALLBACKS = ["old", "older", "old", settings.SECRET_KEY]
    first, again = send(client, "k"), send(client, "k")
    assert (first.status_code, again.content) == (201, first.content)
    assert "Idempotent-Replayed" not in first.headers


def test_two_repeats_of_an_earlier_request_at_once_after_a_change(make_client, settings):
    client = make_client()
    first = send(client, "k")
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "another"
    together = Barrier(4)

    def repeat(_):
        together.wait()
        try:
            return send(client, "k").content
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as threads:
        assert set(threads.map(repeat, range(4))) == {first.content}


OTHER_CALLS = {
    "a batch": ("post", BATCH, {"interactions": [new()]}),
    "a lookup": ("post", LOOKUP, {"user_id": "ada", "message": "m"}),
    "a completion": ("patch", one("mine"), {"response": "r"}),
    "a deletion": ("delete", one("mine"), None),
    "an erasure": ("delete", "/api/v1/users/ada/", None),
}


@pytest.mark.parametrize("call", OTHER_CALLS.values(), ids=OTHER_CALLS)
def test_a_call_that_takes_no_key_refuses_it(client, call):
    """To ignore it would be a promise that is not kept."""
    post(client, new(interaction_id="mine"))
    method, path, body = call
    response = getattr(client, method)(
        path, body, content_type="application/json", HTTP_IDEMPOTENCY_KEY="k"
    )
    assert response.status_code == 400
    assert "Leave out Idempotency-Key" in response.json()["detail"]
    assert ("interaction_id" in response.json()["detail"]) is (path == BATCH)
    (kept,) = client.get(INTERACTIONS).json()["results"]
    assert (kept["interaction_id"], kept["response"]) == ("mine", "")


def test_a_read_may_send_a_key(client):
    assert client.get(INTERACTIONS, HTTP_IDEMPOTENCY_KEY="k").status_code == 200


@pytest.mark.on_sqlite(reason="changes the table of keys")
def test_a_key_is_forgotten_after_a_day(client):
    first = send(client, "k").json()
    day_ago = timezone.now() - timedelta(seconds=1)
    assert IdempotencyRecord.objects.update(expires_at=day_ago) == 1
    second = send(client, "k", message="Another question")
    assert second.status_code == 201
    assert second.json()["interaction_id"] != first["interaction_id"]


def test_nothing_of_the_request_is_kept_with_the_key(client):
    send(client, "the-secret-key", message="the secret message")
    kept = str(list(IdempotencyRecord.objects.values()))
    assert "secret" not in kept
