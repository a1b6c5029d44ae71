"""One interaction over the API: save and read."""

import json
from datetime import UTC, datetime
from uuid import UUID

import pytest

from storage.limits import TEXT_MAX_BYTES, TOKENS_MAX
from tests.chat.calls import (
    FIELDS,
    INTERACTIONS,
    PROBLEM,
    ids,
    mistakes,
    new,
    of_user,
    one,
    patch,
    post,
    saved,
)

pytestmark = pytest.mark.every_backend

ODD_IDS = [
    "a/b",
    "a//b",
    "/a",
    "a/",
    "100%",
    "%2F",
    "a#b",
    "a?b=c&d",
    "née 😀",
    "batch",
    "lookup",
    "batch/",
    "batch/x",
    "users/ada/interactions",
    " spaced out ",
    "+",
    "a\u2028b",
    "x" * 255,
]


def test_a_new_interaction_comes_back_as_it_is_stored(client):
    before = datetime.now(UTC)
    response = post(client, new(response="A tree.", input_tokens=5, output_tokens=7))
    after = datetime.now(UTC)
    assert response.status_code == 201
    assert response["Content-Type"] == "application/json"
    stored = response.json()
    assert list(stored) == FIELDS
    assert UUID(stored["interaction_id"]).version == 7
    assert {name: stored[name] for name in FIELDS[1:7]} == {
        "user_id": "ada",
        "message": "What is a B-tree?",
        "response": "A tree.",
        "model_used": "model-1",
        "input_tokens": 5,
        "output_tokens": 7,
    }
    assert before <= datetime.fromisoformat(stored["created_at"]) <= after
    assert stored["updated_at"] == stored["created_at"]
    assert client.get(one(stored["interaction_id"])).json() == stored


def test_times_are_utc_with_six_digits(client):
    created_at = saved(client)["created_at"]
    parsed = datetime.fromisoformat(created_at)
    assert created_at == parsed.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def test_fields_that_are_left_out_get_their_defaults(client):
    stored = saved(client)
    assert (stored["response"], stored["input_tokens"], stored["output_tokens"]) == ("", 0, 0)


def test_ids_made_by_the_server_sort_in_the_order_of_saving(client):
    made = [saved(client)["interaction_id"] for _ in range(20)]
    assert made == sorted(set(made))


def test_an_id_can_be_given(client):
    assert saved(client, interaction_id="mine")["interaction_id"] == "mine"


def test_saving_the_same_again_gives_the_stored_one(client):
    first = post(client, new(interaction_id="mine"))
    again = post(client, new(interaction_id="mine"))
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.content == first.content


@pytest.mark.parametrize(
    "other",
    [
        {"user_id": "eve"},
        {"message": "Another question"},
        {"response": "Another answer"},
        {"model_used": "model-2"},
        {"input_tokens": 1},
        {"output_tokens": 1},
    ],
    ids=lambda other: next(iter(other)),
)
def test_other_content_under_a_taken_id_is_a_conflict_and_changes_nothing(client, other):
    stored = saved(client, interaction_id="mine")
    response = post(client, new(interaction_id="mine") | other)
    assert response.status_code == 409
    assert response["Content-Type"] == PROBLEM
    assert client.get(one("mine")).json() == stored


def test_the_same_content_after_a_completion_is_a_conflict(client):
    saved(client, interaction_id="mine")
    patch(client, "mine", {"response": "A tree."})
    assert post(client, new(interaction_id="mine")).status_code == 409
    assert post(client, new(interaction_id="mine", response="A tree.")).status_code == 200


def test_every_mistake_in_the_fields_is_reported_at_once(client):
    body = {
        "message": 5,
        "input_tokens": "7",
        "output_tokens": None,
        "mesage": "",
        "a/b~c": 1,
    }
    response = post(client, body)
    assert response.status_code == 400
    found = mistakes(response)
    assert set(found) == {
        "#/user_id",
        "#/message",
        "#/model_used",
        "#/input_tokens",
        "#/output_tokens",
        "#/mesage",
        "#/a~1b~0c",
    }
    assert "required" in found["#/user_id"]
    assert "unknown" in found["#/mesage"]
    assert "str" in found["#/message"]
    assert "int" in found["#/input_tokens"]


@pytest.mark.parametrize("name", FIELDS[:7])
def test_null_is_no_value(client, name):
    response = post(client, new() | {name: None})
    assert response.status_code == 400
    assert list(mistakes(response)) == [f"#/{name}"]


@pytest.mark.parametrize("name", ["created_at", "updated_at"])
def test_the_times_are_the_servers(client, name):
    response = post(client, new() | {name: "2026-01-01T00:00:00Z"})
    assert response.status_code == 400
    assert list(mistakes(response)) == [f"#/{name}"]


def test_a_field_given_twice_is_told_or_the_last_counts(client):
    """JSON leaves it open which one counts, but an answer that says "see errors" has some."""
    body = b'{"user_id": 5, "user_id": "ada", "message": "m", "model_used": "x"}'
    response = post(client, body)
    assert response.status_code == 201 or mistakes(response)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("interaction_id", "", "interaction_id must have 1 to 255 characters; it has 0."),
        ("interaction_id", "x" * 256, "interaction_id must have 1 to 255 characters; it has 256."),
        ("interaction_id", "a\nb", "interaction_id must not contain control characters."),
        ("interaction_id", "a\x7fb", "interaction_id must not contain control characters."),
        ("interaction_id", "a\x85b", "interaction_id must not contain control characters."),
        ("user_id", "", "user_id must have 1 to 255 characters; it has 0."),
        ("user_id", "é" * 256, "user_id must have 1 to 255 characters; it has 256."),
        ("user_id", "a\0b", "user_id must not contain control characters."),
        ("message", "a\0b", "message must not contain the character NUL (U+0000)."),
        ("response", "a\0b", "response must not contain the character NUL (U+0000)."),
        ("model_used", "", "model_used must have 1 to 255 characters; it has 0."),
        ("model_used", "x" * 256, "model_used must have 1 to 255 characters; it has 256."),
        ("model_used", "a\0b", "model_used must not contain the character NUL (U+0000)."),
        ("input_tokens", -1, f"input_tokens must be from 0 to {TOKENS_MAX}."),
        ("input_tokens", TOKENS_MAX + 1, f"input_tokens must be from 0 to {TOKENS_MAX}."),
        ("output_tokens", -1, f"output_tokens must be from 0 to {TOKENS_MAX}."),
        ("output_tokens", 10**30, f"output_tokens must be from 0 to {TOKENS_MAX}."),
    ],
)
def test_each_limit_has_its_own_message(client, name, value, said):
    response = post(client, new() | {name: value})
    assert response.status_code == 400
    assert mistakes(response) == {f"#/{name}": said}
    assert ids(client.get(INTERACTIONS)) == []


def test_all_broken_limits_are_reported_at_once(client):
    body = {
        "interaction_id": "",
        "user_id": "x" * 256,
        "message": "a\0b",
        "model_used": "",
        "input_tokens": -1,
        "output_tokens": TOKENS_MAX + 1,
    }
    response = post(client, body)
    assert response.status_code == 400
    assert set(mistakes(response)) == {f"#/{name}" for name in body}


@pytest.mark.parametrize("name", FIELDS[:5])
def test_lone_surrogates_are_refused(client, name):
    body = json.dumps(new() | {name: "a\ud800b"}).encode()
    response = post(client, body)
    assert response.status_code == 400
    assert response["Content-Type"] == PROBLEM


@pytest.mark.parametrize("tokens", [0, 1, TOKENS_MAX])
def test_token_counts_up_to_the_largest_safe_integer_are_kept_exactly(client, tokens):
    stored = saved(client, input_tokens=tokens, output_tokens=tokens)
    found = client.get(one(stored["interaction_id"])).json()
    assert (found["input_tokens"], found["output_tokens"]) == (tokens, tokens)


@pytest.mark.parametrize("tokens", ["1.5", "true", '"5"', "[]", "{}", "NaN", "1e400", "9" * 5000])
def test_what_is_no_whole_number_is_no_token_count(client, tokens):
    body = f'{{"user_id": "ada", "message": "m", "model_used": "x", "input_tokens": {tokens}}}'
    response = post(client, body.encode())
    assert response.status_code == 400
    assert response["Content-Type"] == PROBLEM


@pytest.mark.parametrize(
    ("message", "response", "pointer"),
    [
        ("x" * TEXT_MAX_BYTES, "", "#/message"),
        ("", "x" * TEXT_MAX_BYTES, "#/response"),
        ("x" * (TEXT_MAX_BYTES - 1), "x", "#/response"),
        ("€" * (TEXT_MAX_BYTES // 3) + "x" * (TEXT_MAX_BYTES % 3), "", "#/message"),
    ],
    ids=["message", "response", "both", "bytes and not characters"],
)
def test_the_text_may_have_8000000_bytes_and_no_more(client, message, response, pointer):
    stored = saved(client, message=message, response=response)
    found = client.get(one(stored["interaction_id"])).json()
    assert (found["message"], found["response"]) == (message, response)
    if pointer == "#/message":
        over = post(client, new(message=message + "x", response=response))
    else:
        over = post(client, new(message=message, response=response + "x"))
    assert over.status_code == 400
    assert mistakes(over) == {
        pointer: "message and response together must be at most 8000000 bytes of UTF-8; "
        "they are 8000001."
    }


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "a\r\n\tb",
        "née 👩🏽‍💻 \u202e",
        "\u2028\u2029",
        "\ufeffa",
        "\\u0041</script>",
        "\uffff",
    ],
    ids=ascii,
)
def test_text_is_kept_as_it_is(client, text):
    stored = saved(client, message=text, response=text)
    found = client.get(one(stored["interaction_id"])).json()
    assert (found["message"], found["response"]) == (text, text)


@pytest.mark.parametrize(
    "body",
    [b"", b" ", b"{", b'{"user_id": "ada",}', b"{} {}", b"\xff\xfe{\0}\0", b'{"message": "\xff"}'],
)
def test_what_is_no_json_is_refused(client, body):
    response = post(client, body)
    assert response.status_code == 400
    assert "not JSON" in response.json()["detail"]


@pytest.mark.parametrize("body", [b"[]", b'"text"', b"5", b"null", b"true"])
def test_what_is_no_json_object_is_refused(client, body):
    response = post(client, body)
    assert response.status_code == 400
    assert mistakes(response) == {"#": "must be a JSON object."}


def test_a_hundred_thousand_brackets_are_refused(client):
    deep = b"[" * 100_000 + b"]" * 100_000
    for body in (deep, b'{"message": ' + deep + b"}", b"[" * 100_000):
        response = post(client, body)
        assert response.status_code == 400
        assert response["Content-Type"] == PROBLEM


@pytest.mark.parametrize(
    "content_type",
    ["", "text/plain", "application/x-www-form-urlencoded", "application/json-seq", "multipart/x"],
)
def test_a_body_that_does_not_say_it_is_json_is_refused(client, content_type):
    response = client.generic("POST", INTERACTIONS, json.dumps(new()), content_type)
    assert response.status_code == 415
    assert response["Content-Type"] == PROBLEM


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "Application/JSON"])
def test_a_charset_and_capitals_in_the_media_type_are_fine(client, content_type):
    response = client.generic("POST", INTERACTIONS, json.dumps(new()), content_type)
    assert response.status_code == 201


def test_a_body_over_sixteen_megabytes_is_too_large(client):
    limit = 16 * 1024 * 1024
    fits = json.dumps(new()).encode().ljust(limit)
    assert post(client, fits).status_code == 201
    response = post(client, fits + b" ")
    assert response.status_code == 413
    assert response["Content-Type"] == PROBLEM
    assert len(ids(client.get(INTERACTIONS))) == 1


@pytest.mark.parametrize("interaction_id", ODD_IDS, ids=ascii)
def test_any_id_within_the_limits_works_in_every_call(client, interaction_id):
    stored = saved(client, interaction_id=interaction_id)
    assert client.get(one(interaction_id)).json() == stored
    assert patch(client, interaction_id, {"response": "r"}).json()["response"] == "r"
    assert ids(client.get(of_user("ada"))) == [interaction_id]
    assert client.delete(one(interaction_id)).status_code == 204
    assert client.get(one(interaction_id)).status_code == 404


@pytest.mark.parametrize("interaction_id", ["unknown", "x" * 256, "a\nb", "\0", "%zz"], ids=ascii)
def test_an_id_that_nothing_has_is_not_found(client, interaction_id):
    for response in (
        client.get(one(interaction_id)),
        patch(client, interaction_id, {"response": "r"}),
        client.delete(one(interaction_id)),
    ):
        assert response.status_code == 404
        assert response["Content-Type"] == PROBLEM


def test_head_says_what_get_says_without_the_body(client):
    path = one(saved(client)["interaction_id"])
    for address in (path, INTERACTIONS, of_user("ada"), one("unknown")):
        full, head = client.get(address), client.head(address)
        assert (head.status_code, dict(head.headers)) == (full.status_code, dict(full.headers))
        assert head.content == b""


@pytest.mark.parametrize("method", ["get", "post", "patch", "delete"])
def test_calls_without_query_parameters_refuse_them(client, method):
    stored = saved(client, interaction_id="mine")
    path = INTERACTIONS if method == "post" else one("mine")
    body = new() if method == "post" else {"response": "r"}
    response = getattr(client, method)(
        f"{path}?limit=5&x=", *([] if method == "get" else [body, "application/json"])
    )
    assert response.status_code == 400
    assert set(mistakes(response)) == {"limit", "x"}
    assert client.get(INTERACTIONS).json()["results"] == [stored]


def test_a_save_without_the_last_slash_does_not_look_like_a_success(client):
    """Clients follow a 301 with a GET, whose 200 would hide that nothing was saved."""
    response = post(client, new(), path=INTERACTIONS.rstrip("/"), follow=True)
    assert response.status_code >= 400
