"""Asking for an answer that was given before, so that no model needs to be paid again."""

from datetime import UTC, datetime, timedelta

import pytest

from chat.api.bodies import BODY_LIMIT
from storage.accounts import api_keys
from storage.models import ApiKey
from tests.chat.calls import LOOKUP, PROBLEM, mistakes, one, patch, post, saved

pytestmark = pytest.mark.every_backend

ASKED = "What is a B-tree?"


def look_up(client, **asked):
    return post(client, {"user_id": "ada", "message": ASKED} | asked, path=LOOKUP)


@pytest.fixture
def answered(storage, make_interaction):
    """Saves an answer to ASKED of a given age in seconds."""

    def save(interaction_id, age=0, **given):
        created_at = datetime.now(UTC) - timedelta(seconds=age)
        values = {"message": ASKED, "response": "A tree.", "created_at": created_at} | given
        storage.save_interaction_sync(make_interaction(interaction_id=interaction_id, **values))

    return save


def found(response):
    assert response.status_code == 200, response.content
    return response.json()["interaction_id"]


def test_the_newest_answer_is_given_as_a_read_by_id_gives_it(client, answered):
    answered("old", age=60)
    answered("new")
    for _ in range(2):
        response = look_up(client)
        assert response["Content-Type"] == "application/json"
        assert response.content == client.get(one("new")).content


def test_what_was_never_answered_is_404(client, answered):
    answered("i")
    response = look_up(client, message="Another question")
    assert (response.status_code, response["Content-Type"]) == (404, PROBLEM)
    assert response.json()["detail"] == "This user got no such answer to this message."


def test_the_way_of_a_chat_service(client):
    # Not answered yet; the model is paid and its answer streamed; then it is known.
    assert look_up(client).status_code == 404
    interaction_id = saved(client, message=ASKED)["interaction_id"]
    assert look_up(client).status_code == 404
    patch(client, interaction_id, {"response": "A tree.", "output_tokens": 2})
    assert found(look_up(client)) == interaction_id
    client.delete(one(interaction_id))
    assert look_up(client).status_code == 404


def test_the_model_and_the_age_narrow_it(client, answered):
    answered("old", age=100, model_used="small")
    answered("new", age=50, model_used="large")
    assert found(look_up(client, model_used="small")) == "old"
    assert found(look_up(client, model_used="small", max_age=200)) == "old"
    assert found(look_up(client, max_age=75)) == "new"
    assert look_up(client, model_used="small", max_age=75).status_code == 404
    assert look_up(client, max_age=25).status_code == 404


def test_a_key_of_one_user_asks_for_that_user_only(client, answered):
    answered("i")
    answered("bobs", user_id="bob")
    _, key = ApiKey.objects.create_key(name="bob", user_id="bob")
    api_keys.forget()
    client.defaults["HTTP_AUTHORIZATION"] = f"Api-Key {key}"
    assert found(look_up(client, user_id="bob")) == "bobs"
    response = look_up(client)
    assert (response.status_code, response["Content-Type"]) == (403, PROBLEM)


@pytest.mark.parametrize(
    ("asked", "pointer", "detail"),
    [
        ({"user_id": ""}, "#/user_id", "must have 1 to 255 characters; it has 0."),
        ({"user_id": "a\nb"}, "#/user_id", "must not contain control characters."),
        ({"message": "\0"}, "#/message", "must not contain the character NUL (U+0000)."),
        ({"message": None}, "#/message", "Expected `str`, got `null`."),
        ({"model_used": ""}, "#/model_used", "must have 1 to 255 characters; it has 0."),
        ({"max_age": 0}, "#/max_age", "must be from 1 to 316224000 seconds."),
        ({"max_age": -(10**30)}, "#/max_age", "must be from 1 to 316224000 seconds."),
        ({"max_age": 10**30}, "#/max_age", "must be from 1 to 316224000 seconds."),
        ({"max_age": "1h"}, "#/max_age", "Expected `int`, got `str`."),
        ({"max_age": 1.5}, "#/max_age", "Expected `int`"),
        ({"max_age": True}, "#/max_age", "Expected `int`, got `bool`."),
        ({"limit": 1}, "#/limit", "the fields are: user_id, message, model_used, max_age."),
    ],
)
def test_each_mistake_is_pointed_at(client, asked, pointer, detail):
    response = look_up(client, **asked)
    assert response.status_code == 400
    found = mistakes(response)
    assert list(found) == [pointer]
    assert detail in found[pointer]


def test_all_mistakes_are_told_at_once(client):
    response = post(client, {"user_id": "", "max_age": 0}, path=LOOKUP)
    assert set(mistakes(response)) >= {"#/message"}
    response = look_up(client, user_id="", model_used="", max_age=0)
    assert set(mistakes(response)) == {"#/user_id", "#/model_used", "#/max_age"}


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b"[" * 100_000])
def test_a_body_that_is_no_question_is_400(client, body):
    assert post(client, body, path=LOOKUP).status_code == 400


def test_a_lone_surrogate_is_400(client):
    body = b'{"user_id": "ada", "message": "\\ud800"}'
    assert post(client, body, path=LOOKUP).status_code == 400


def test_other_types_and_large_bodies_are_refused(client):
    assert post(client, b"user_id=ada", path=LOOKUP, CONTENT_TYPE="text/plain").status_code == 415
    large = b'{"message": "' + b"x" * BODY_LIMIT + b'"}'
    assert post(client, large, path=LOOKUP).status_code == 413


def test_a_query_string_is_refused(client):
    assert post(client, {}, path=f"{LOOKUP}?user_id=ada").status_code == 400


def test_with_lookups_off_it_is_a_404_of_its_own_and_says_why(client, answered, settings):
    settings.ANSWER_LOOKUP = False
    answered("i")
    response = look_up(client)
    assert (response.status_code, response["Content-Type"]) == (404, PROBLEM)
    assert response.json()["type"] == "urn:problem-type:answer-lookup-off"
    assert "ANSWER_LOOKUP=false" in response.json()["detail"]
    assert client.get(one("i")).json()["response"] == "A tree."


def test_lookups_that_are_on_again_find_what_is_written_from_then_on(client, answered, settings):
    settings.ANSWER_LOOKUP = False
    answered("before")
    settings.ANSWER_LOOKUP = True
    answered("after")
    assert found(look_up(client)) == "after"
    patch(client, "before", {"response": "A tree, balanced."})
    client.delete(one("after"))
    assert found(look_up(client)) == "before"
