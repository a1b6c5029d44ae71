"""Searching interactions over the API. `tests.contract.searching` is about what is found."""

from datetime import UTC, datetime, timedelta

import pytest

from storage.database import Database
from tests.chat.calls import PROBLEM, SEARCH, patch, saved

pytestmark = pytest.mark.every_backend


@pytest.fixture
def no_index(storage, monkeypatch):
    """The backend has no index of words, or is still making it."""
    monkeypatch.setattr(type(storage.database), "find_text", Database.find_text)


def find(client, **parameters):
    response = client.get(SEARCH, parameters)
    assert response.status_code == 200, response.content
    return response.json()


def found(client, **parameters):
    page = find(client, **parameters)
    assert (page["next"], page["searched_until"]) == (None, None)
    return [record["interaction_id"] for record in page["results"]]


@pytest.fixture
def four(client):
    saved(client, interaction_id="a", message="Café au lait", response="Bien sûr.", input_tokens=9)
    saved(client, interaction_id="b", message="Cafeteria?", model_used="model-2")
    saved(client, interaction_id="c", message="tea", response="No CAFE here", output_tokens=3)
    saved(client, interaction_id="d", message="Cafe", user_id="bob")


@pytest.mark.usefixtures("four", "no_index")
@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({}, "d c b a"),
        ({"user_id": "ada"}, "c b a"),
        ({"user_id": "nobody"}, ""),
        ({"model_used": "model-2"}, "b"),
        ({"answered": "true"}, "c a"),
        ({"answered": "false", "user_id": "ada"}, "b"),
        ({"tokens_min": "3", "tokens_max": "8"}, "c"),
        ({"q": "cafe", "user_id": "ada"}, "c b a"),
        ({"q": "CAFÉ lait", "user_id": "ada"}, "a"),
        ({"q": "afe", "user_id": "ada"}, ""),
        ({"tier": "hot", "q": "sur", "user_id": "ada"}, "a"),
        ({"tier": "archive"}, ""),
    ],
)
def test_each_parameter_leaves_out_what_has_not_that(client, parameters, expected):
    assert found(client, **parameters) == expected.split()


@pytest.mark.usefixtures("four")
def test_pages_follow_each_other_with_the_same_filters(client):
    page = find(client, user_id="ada", limit=2, created_after="2020-01-01T00:00:00Z")
    assert [record["interaction_id"] for record in page["results"]] == ["c", "b"]
    assert page["searched_until"] == page["results"][-1]["created_at"]
    last = client.get(page["next"]).json()
    assert [record["interaction_id"] for record in last["results"]] == ["a"]
    assert (last["next"], last["searched_until"]) == (None, None)


def test_a_page_that_ends_early_says_where_and_goes_on(client, storage, four, monkeypatch):
    monkeypatch.setattr(type(storage.database), "examined_at_most", 3)
    page = find(client, model_used="model-1", answered="true", tokens_min=9)
    assert page["results"] == []
    second = storage.get_interaction_sync("b").created_at
    assert datetime.fromisoformat(page["searched_until"]) == second
    assert [row["interaction_id"] for row in client.get(page["next"]).json()["results"]] == ["a"]


def test_hot_and_archived_are_one_list(client, storage, make_interaction):
    old = datetime.now(UTC) - timedelta(days=40)
    made = [
        make_interaction(interaction_id=f"i{n}", created_at=old + timedelta(seconds=n))
        for n in range(4)
    ]
    storage.create_interactions_sync(made)
    segment = storage.archive.new_segment(old.date())
    storage.archive.write(segment, made[1:3])
    storage.move_to_cold(made[1:3], segment)
    page = find(client)
    assert [(row["interaction_id"], row.get("tier")) for row in page["results"]] == [
        *(("i3", None), ("i2", "archive"), ("i1", "archive"), ("i0", None))
    ]
    assert found(client, tier="archive", user_id="ada", answered="true") == ["i2", "i1"]
    assert found(client, tier="hot") == ["i3", "i0"]


@pytest.mark.usefixtures("four")
def test_a_users_key_searches_its_own(make_client):
    bob = make_client("bob")
    assert found(bob) == found(bob, user_id="bob") == found(bob, q="cafe") == ["d"]
    assert bob.get(SEARCH, {"user_id": "ada"}).status_code == 403


@pytest.mark.parametrize(
    ("parameters", "wrong"),
    [
        ({"text": "x"}, "text"),
        ({"q": ""}, "q"),
        ({"q": "?!"}, "q"),
        ({"q": "x" * 201, "user_id": "ada"}, "q"),
        ({"q": "a\0", "user_id": "ada"}, "q"),
        ({"user_id": ""}, "user_id"),
        ({"user_id": "a\nb"}, "user_id"),
        ({"model_used": "x" * 256}, "model_used"),
        ({"created_after": "yesterday"}, "created_after"),
        ({"tier": "cold"}, "tier"),
        ({"answered": "1"}, "answered"),
        ({"tokens_min": "-1"}, "tokens_min"),
        ({"tokens_max": "9" * 17}, "tokens_max"),
        ({"tokens_min": "5", "tokens_max": "4"}, "tokens_max"),
        ({"limit": "201"}, "limit"),
        ({"cursor": "x"}, "cursor"),
        ({"answered": ["true", "false"]}, "answered"),
    ],
)
def test_a_mistake_is_named(client, parameters, wrong):
    response = client.get(SEARCH, parameters)
    assert (response.status_code, response["Content-Type"]) == (400, PROBLEM)
    assert [each["parameter"] for each in response.json()["errors"]] == [wrong]


@pytest.mark.usefixtures("no_index")
def test_text_in_everything_asks_for_a_user_or_a_period(client):
    response = client.get(SEARCH, {"q": "cafe"})
    assert response.status_code == 400
    (problem,) = response.json()["errors"]
    assert problem["parameter"] == "q"
    assert "user_id" in problem["detail"]
    assert "31 days" in problem["detail"]
    assert found(client, q="cafe", created_after=datetime.now(UTC).isoformat()) == []


def test_an_interaction_may_be_called_search(client):
    saved(client, interaction_id="search")
    assert patch(client, "search", {"response": "r"}).status_code == 200
    assert found(client) == ["search"]
    assert client.delete(SEARCH).status_code == 204


def test_text_and_users_stay_out_of_the_log(client, caplog):
    caplog.set_level("DEBUG")
    client.get(SEARCH, {"q": "hush-hush", "user_id": "secret-ada"})
    client.get(SEARCH, {"q": "hush-hush", "user_id": "secret-ada", "tier": "x"})
    assert "hush" not in caplog.text
    assert "secret" not in caplog.text
