"""PATCH: an interaction whose answer arrives after its question was saved."""

import pytest

from storage.limits import TEXT_MAX_BYTES, TOKENS_MAX
from tests.chat.calls import FIELDS, INTERACTIONS, mistakes, of_user, one, patch, saved

pytestmark = pytest.mark.every_backend

COMPLETED = {
    "response": "A balanced tree.",
    "model_used": "model-2",
    "input_tokens": 11,
    "output_tokens": TOKENS_MAX,
}


@pytest.mark.parametrize("name", COMPLETED)
def test_each_field_of_an_answer_can_be_completed(client, name):
    stored = saved(client, interaction_id="mine")
    response = patch(client, "mine", {name: COMPLETED[name]})
    assert response.status_code == 200
    changed = response.json()
    assert changed == stored | {name: COMPLETED[name], "updated_at": changed["updated_at"]}


def test_all_fields_of_an_answer_can_be_completed_at_once(client):
    stored = saved(client, interaction_id="mine")
    changed = patch(client, "mine", COMPLETED).json()
    assert changed == stored | COMPLETED | {"updated_at": changed["updated_at"]}


def test_a_completion_moves_updated_at_and_nothing_else(client):
    stored = saved(client, interaction_id="mine")
    changed = patch(client, "mine", {"response": "A tree."}).json()
    assert changed["updated_at"] > stored["updated_at"]
    assert changed["created_at"] == stored["created_at"]


def test_a_completion_is_seen_by_every_read_at_once(client):
    saved(client, interaction_id="mine")
    client.get(one("mine"))  # so that a cached answer would be found
    changed = patch(client, "mine", {"response": "A tree."}).json()
    assert client.get(one("mine")).json() == changed
    assert client.get(of_user("ada")).json()["results"] == [changed]
    assert client.get(INTERACTIONS).json()["results"] == [changed]


@pytest.mark.parametrize(
    "name", ["interaction_id", "user_id", "message", "created_at", "updated_at", "other"]
)
def test_no_other_field_can_be_changed(client, name):
    stored = saved(client, interaction_id="mine")
    response = patch(client, "mine", {"response": "A tree.", name: stored.get(name, "x")})
    assert response.status_code == 400
    assert list(mistakes(response)) == [f"#/{name}"]
    assert client.get(one("mine")).json() == stored


def test_a_completion_names_at_least_one_field(client):
    saved(client, interaction_id="mine")
    response = patch(client, "mine", {})
    assert response.status_code == 400
    assert all(name in mistakes(response)["#"] for name in COMPLETED)


@pytest.mark.parametrize("name", COMPLETED)
def test_null_completes_nothing(client, name):
    stored = saved(client, interaction_id="mine")
    response = patch(client, "mine", {name: None})
    assert response.status_code == 400
    assert list(mistakes(response)) == [f"#/{name}"]
    assert client.get(one("mine")).json() == stored


def test_every_mistake_in_a_completion_is_reported_at_once(client):
    saved(client, interaction_id="mine")
    response = patch(client, "mine", {"response": 5, "output_tokens": "7", "user_id": "eve"})
    assert response.status_code == 400
    assert set(mistakes(response)) == {"#/response", "#/output_tokens", "#/user_id"}


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("response", "a\0b", "response must not contain the character NUL (U+0000)."),
        ("model_used", "", "model_used must have 1 to 255 characters; it has 0."),
        ("model_used", "x" * 256, "model_used must have 1 to 255 characters; it has 256."),
        ("input_tokens", -1, f"input_tokens must be from 0 to {TOKENS_MAX}."),
        ("output_tokens", TOKENS_MAX + 1, f"output_tokens must be from 0 to {TOKENS_MAX}."),
    ],
)
def test_each_limit_holds_for_a_completion(client, name, value, said):
    stored = saved(client, interaction_id="mine")
    response = patch(client, "mine", {name: value})
    assert response.status_code == 400
    assert mistakes(response) == {f"#/{name}": said}
    assert client.get(one("mine")).json() == stored


def test_message_and_response_together_stay_within_8000000_bytes(client):
    stored = saved(client, interaction_id="mine", message="x" * 300_000)
    over = patch(client, "mine", {"response": "x" * (TEXT_MAX_BYTES - 300_000 + 1)})
    assert over.status_code == 400
    (said,) = mistakes(over).values()
    assert "8000000 bytes" in said
    assert "8000001" in said
    assert client.get(one("mine")).json() == stored
    fits = patch(client, "mine", {"response": "x" * (TEXT_MAX_BYTES - 300_000)})
    assert fits.status_code == 200


def test_a_response_that_is_too_long_is_pointed_at_where_it_was_sent(client):
    """`pointer` is a JSON Pointer into the body, and a completion has no message."""
    saved(client, interaction_id="mine", message="x" * 300_000)
    over = patch(client, "mine", {"response": "x" * 7_800_000})
    assert list(mistakes(over)) == ["#/response"]


def test_a_completion_can_be_repeated(client):
    saved(client, interaction_id="mine")
    first = patch(client, "mine", COMPLETED).json()
    again = patch(client, "mine", COMPLETED)
    assert again.status_code == 200
    assert again.json() == first | {"updated_at": again.json()["updated_at"]}


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[]", b"null"])
def test_what_is_no_json_object_completes_nothing(client, body):
    stored = saved(client, interaction_id="mine")
    assert patch(client, "mine", body).status_code == 400
    assert client.get(one("mine")).json() == stored


def test_a_completion_that_does_not_say_it_is_json_is_refused(client):
    saved(client, interaction_id="mine")
    response = client.patch(one("mine"), b'{"response": "r"}', content_type="text/plain")
    assert response.status_code == 415


def test_the_answer_has_the_nine_fields(client):
    saved(client, interaction_id="mine")
    assert list(patch(client, "mine", COMPLETED).json()) == FIELDS
