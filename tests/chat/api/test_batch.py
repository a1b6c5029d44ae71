"""Many interactions in one call: all are checked before any is written."""

import json

import pytest

from chat.api.bodies import BATCH_BODY_LIMIT
from storage import limits
from tests.chat.calls import BATCH, INTERACTIONS, PROBLEM, ids, mistakes, new, one, post, saved

pytestmark = pytest.mark.every_backend


def send(client, *items):
    return post(client, {"interactions": list(items)}, path=BATCH)


def results(response):
    assert response.status_code == 200, response.content
    return [(result["interaction_id"], result["status"]) for result in response.json()["results"]]


def test_a_batch_of_one(client):
    response = send(client, new(interaction_id="mine"))
    assert results(response) == [("mine", "created")]
    assert client.get(one("mine")).json()["message"] == "What is a B-tree?"


def test_a_batch_of_a_thousand_keeps_their_order(client, storage):
    names = [f"i{number:04}" for number in range(1000)]
    response = send(client, *(new(interaction_id=name) for name in names))
    assert results(response) == [(name, "created") for name in names]
    page = client.get(INTERACTIONS, {"limit": 200}).json()
    assert page["next"] is not None
    assert all(storage.get_interaction_sync(name) is not None for name in names[::100])


@pytest.mark.parametrize(("count", "said"), [(0, "0"), (1001, "more"), (1500, "more")])
def test_fewer_than_one_and_more_than_a_thousand_are_refused(client, count, said):
    response = send(client, *(new(interaction_id=f"i{number}") for number in range(count)))
    assert response.status_code == 400
    assert mistakes(response) == {
        "#/interactions": f"interactions must have 1 to 1000 items; it has {said}."
    }
    assert ids(client.get(INTERACTIONS)) == []


def test_the_size_is_told_even_if_the_items_are_wrong_too(client):
    response = send(client, *([{}] * 1001))
    assert response.status_code == 400
    assert list(mistakes(response)) == ["#/interactions"]


def test_items_without_an_id_get_one(client):
    response = send(client, new(), new())
    first, second = results(response)
    assert first[0] != second[0]
    assert {first[1], second[1]} == {"created"}
    assert client.get(one(first[0])).status_code == 200


def test_a_batch_may_be_of_many_users(client):
    send(client, new(interaction_id="a", user_id="ada"), new(interaction_id="b", user_id="bob"))
    assert client.get(one("a")).json()["user_id"] == "ada"
    assert client.get(one("b")).json()["user_id"] == "bob"


def test_each_bad_item_is_reported_with_its_index_and_nothing_is_written(client):
    response = send(
        client,
        new(interaction_id="good"),
        new(input_tokens=-1, model_used=""),
        new(interaction_id="good too"),
        {"user_id": 5, "mesage": "", "message": "m", "output_tokens": -1},
    )
    assert response.status_code == 400
    assert set(mistakes(response)) == {
        "#/interactions/1/input_tokens",
        "#/interactions/1/model_used",
        "#/interactions/3/user_id",
        "#/interactions/3/mesage",
        "#/interactions/3/model_used",
        "#/interactions/3/output_tokens",
    }
    assert response.json()["error_count"] == 6
    assert ids(client.get(INTERACTIONS)) == []


def test_broken_limits_alone_are_reported_with_their_index(client, monkeypatch):
    monkeypatch.setattr(limits, "TEXT_MAX_BYTES", 390_000)
    response = send(
        client, new(), new(user_id=""), new(message="x" * 390_001), new(), new(response="\0")
    )
    assert response.status_code == 400
    assert set(mistakes(response)) == {
        "#/interactions/1/user_id",
        "#/interactions/2/message",
        "#/interactions/4/response",
    }
    assert ids(client.get(INTERACTIONS)) == []


def test_a_field_given_twice_in_an_item_is_told_or_the_last_counts(client):
    """An answer that says "see errors" has some."""
    item = b'{"user_id": 5, "user_id": "ada", "message": "m", "model_used": "x"}'
    response = post(client, b'{"interactions": [' + item + b"]}", path=BATCH)
    assert response.status_code == 200 or mistakes(response)


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        (b"[]", {"#"}),
        (b"null", {"#"}),
        (b"{}", {"#"}),
        (b'{"interactions": null}', {"#"}),
        (b'{"interactions": {}}', {"#"}),
        (b'{"interactions": [5, null]}', {"#/interactions/0", "#/interactions/1"}),
        (b'{"interactions": [], "more": 1}', {"#/interactions", "#/more"}),
    ],
)
def test_a_body_of_another_shape_is_refused(client, body, pointers):
    response = post(client, body, path=BATCH)
    assert response.status_code == 400
    assert set(mistakes(response)) == pointers


@pytest.mark.parametrize("body", [b"", b"{", b'{"interactions": [', b"\xff", b"[" * 100_000])
def test_what_is_no_json_is_refused(client, body):
    response = post(client, body, path=BATCH)
    assert response.status_code == 400
    assert response["Content-Type"] == PROBLEM


def test_each_item_is_created_unchanged_or_in_conflict(client):
    kept = saved(client, interaction_id="same")
    taken = saved(client, interaction_id="other")
    response = send(
        client,
        new(interaction_id="other", message="Another question"),
        new(interaction_id="new"),
        new(interaction_id="same"),
    )
    assert results(response) == [("other", "conflict"), ("new", "created"), ("same", "unchanged")]
    assert client.get(one("same")).json() == kept
    assert client.get(one("other")).json() == taken
    assert client.get(one("new")).status_code == 200


def test_repeating_a_batch_changes_nothing(client):
    items = [new(interaction_id=f"i{number}") for number in range(5)]
    send(client, *items)
    before = client.get(INTERACTIONS).json()["results"]
    assert results(send(client, *items)) == [(f"i{number}", "unchanged") for number in range(5)]
    assert client.get(INTERACTIONS).json()["results"] == before


def test_the_same_item_twice_in_a_batch_is_one_interaction(client):
    item = new(interaction_id="twice")
    response = send(client, item, item, item | {"message": "Another question"})
    assert results(response) == [
        ("twice", "created"),
        ("twice", "unchanged"),
        ("twice", "conflict"),
    ]
    assert client.get(one("twice")).json()["message"] == "What is a B-tree?"


def test_a_bound_key_with_one_foreign_item_writes_nothing(client, make_client):
    response = send(
        make_client("ada"),
        new(interaction_id="mine"),
        new(interaction_id="hers", user_id="eve"),
        new(interaction_id="mine too"),
    )
    assert response.status_code == 403
    assert response["Content-Type"] == PROBLEM
    assert ids(client.get(INTERACTIONS)) == []


def test_a_bound_key_does_not_change_what_another_user_has_under_the_id(client, make_client):
    hers = saved(client, interaction_id="taken", user_id="eve")
    response = send(make_client("ada"), new(interaction_id="taken"), new(interaction_id="mine"))
    assert results(response) == [("taken", "conflict"), ("mine", "created")]
    assert client.get(one("taken")).json() == hers


def test_a_batch_may_be_as_long_as_its_limit_and_no_longer(client):
    item = new(message="x" * 100_000)
    fits = json.dumps({"interactions": [item] * 20}).encode().ljust(BATCH_BODY_LIMIT)
    assert len(results(post(client, fits, path=BATCH))) == 20
    response = post(client, fits + b" ", path=BATCH)
    assert response.status_code == 413
    assert response["Content-Type"] == PROBLEM


def test_a_batch_takes_no_query_parameters(client):
    response = post(client, {"interactions": [new()]}, path=f"{BATCH}?dry_run=1")
    assert response.status_code == 400
    assert set(mistakes(response)) == {"dry_run"}
    assert ids(client.get(INTERACTIONS)) == []
