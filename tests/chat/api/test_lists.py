"""Lists of interactions: newest first, page by page."""

from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.chat.calls import (
    BATCH,
    INTERACTIONS,
    PROBLEM,
    ids,
    is_empty_page,
    mistakes,
    new,
    of_user,
    post,
    reveal,
)

pytestmark = pytest.mark.every_backend

START = datetime(2026, 3, 1, 12, tzinfo=UTC)

ODD_USERS = [
    "ada",
    "a/b",
    "a/interactions/b",
    "a//b",
    "/a",
    "a/",
    "née 😀",
    "100%",
    "%2F",
    "a#b",
    "a?b=c&d;e",
    "a b",
    "+",
    "a\\b",
    "http://example.org/",
]


@pytest.fixture
def fill(storage, make_interaction):
    """Saves interactions of a user, one a minute from START, and gives their ids, newest first.

    With `together`, as many at a time have the same time of creation.
    """

    def save(user_id, count, together=1):
        made = [
            make_interaction(
                interaction_id=f"{user_id[:200]}:{number:03}",
                user_id=user_id,
                created_at=START + timedelta(minutes=number // together),
            )
            for number in range(count)
        ]
        storage.copy_interactions(made)
        ordered = sorted(made, key=lambda i: (i.created_at, i.interaction_id), reverse=True)
        return [interaction.interaction_id for interaction in ordered]

    return save


def walk(client, path, **parameters):
    """Follow `next` to the end; gives the ids of each page."""
    response = client.get(path, parameters)
    pages = []
    while True:
        assert response.status_code == 200, response.content
        pages.append(ids(response))
        address = response.json()["next"]
        if address is None:
            return pages
        assert len(pages) < 100, "the list has no end"
        response = client.get(address)


def joined(pages):
    return [interaction_id for page in pages for interaction_id in page]


@pytest.mark.parametrize("user_id", ODD_USERS, ids=ascii)
def test_following_next_shows_all_of_a_user_once_and_of_no_other(client, fill, user_id):
    expected = fill(user_id, 11)
    fill("other", 11)
    pages = walk(client, of_user(user_id), limit=4)
    assert joined(pages) == expected
    assert [len(page) for page in pages] == [4, 4, 3]


@pytest.mark.parametrize("user_id", ["a/../b", "a/./b"])
def test_following_next_works_for_a_user_id_that_looks_like_a_relative_path(client, fill, user_id):
    expected = fill(user_id, 3)
    assert joined(walk(client, of_user(user_id), limit=2)) == expected


def test_following_next_shows_everyones_once(client, fill):
    fill("ada", 5)
    fill("née 😀", 6)
    pages = walk(client, INTERACTIONS, limit=3)
    assert [len(page) for page in pages] == [3, 3, 3, 2]
    assert sorted(joined(pages)) == sorted(
        [f"ada:{n:03}" for n in range(5)] + [f"née 😀:{n:03}" for n in range(6)]
    )


def test_equal_times_are_ordered_by_id_and_none_is_lost_between_pages(client, fill):
    expected = fill("ada", 12, together=5)
    for limit in (1, 2, 3, 4, 5):
        assert joined(walk(client, of_user("ada"), limit=limit)) == expected
        assert joined(walk(client, INTERACTIONS, limit=limit)) == expected


def test_next_is_null_on_the_last_page_and_only_there(client, fill):
    fill("ada", 8)
    assert [len(page) for page in walk(client, of_user("ada"), limit=4)] == [4, 4]


@pytest.mark.parametrize("user_id", ["nobody", "x" * 256, "a\tb", "\0"], ids=ascii)
def test_a_user_without_interactions_has_one_empty_page(client, user_id):
    assert is_empty_page(client.get(of_user(user_id)))


def test_an_empty_store_has_one_empty_page(client):
    assert is_empty_page(client.get(INTERACTIONS))


def test_a_page_has_50_unless_the_client_says_otherwise(client, fill):
    fill("ada", 201)
    for path in (of_user("ada"), INTERACTIONS):
        assert len(ids(client.get(path))) == 50
        assert len(ids(client.get(path, {"limit": 1}))) == 1
        assert len(ids(client.get(path, {"limit": 200}))) == 200


def test_what_is_saved_meanwhile_does_not_show_anything_twice(client, fill):
    expected = fill("ada", 6)
    first = client.get(of_user("ada"), {"limit": 3})
    post(client, {"interactions": [new(), new()]}, path=BATCH)
    assert ids(first) + ids(client.get(first.json()["next"])) == expected


def test_next_keeps_the_filters_and_the_limit(client, fill):
    expected = fill("ada", 12)
    period = {
        "created_after": (START + timedelta(minutes=2)).isoformat(),
        "created_before": (START + timedelta(minutes=9)).isoformat(),
    }
    pages = walk(client, of_user("ada"), limit=3, **period)
    assert joined(pages) == expected[3:10]
    assert [len(page) for page in pages] == [3, 3, 1]
    address = client.get(of_user("ada"), {"limit": 3} | period).json()["next"]
    assert urlsplit(address).netloc == "testserver"
    assert parse_qs(urlsplit(address).query).keys() == {"limit", "cursor", *period}


def test_created_after_is_included_and_created_before_is_not(client, fill):
    newest_first = fill("ada", 3)
    middle = (START + timedelta(minutes=1)).isoformat()
    for path in (of_user("ada"), INTERACTIONS):
        assert ids(client.get(path, {"created_after": middle})) == newest_first[:2]
        assert ids(client.get(path, {"created_before": middle})) == newest_first[2:]


@pytest.mark.parametrize(
    "same_time",
    ["2026-03-01T12:01:00Z", "2026-03-01T13:01:00+01:00", "2026-03-01T06:31:00.000000-05:30"],
)
def test_times_may_have_any_offset(client, fill, same_time):
    newest_first = fill("ada", 3)
    assert ids(client.get(of_user("ada"), {"created_after": same_time})) == newest_first[:2]


def test_a_period_that_ends_before_it_begins_is_empty(client, fill):
    fill("ada", 3)
    parameters = {"created_after": "2026-03-02T00:00:00Z", "created_before": "2026-03-01T00:00:00Z"}
    assert is_empty_page(client.get(of_user("ada"), parameters))


@pytest.mark.parametrize("name", ["created_after", "created_before"])
@pytest.mark.parametrize(
    "text",
    [
        "2026-03-01T12:00:00",
        "2026-03-01",
        "12:00",
        "yesterday",
        "",
        "1772366400",
        "2026-02-30T00:00Z",
    ],
)
def test_what_is_no_time_with_an_offset_is_refused(client, name, text):
    response = client.get(INTERACTIONS, {name: text})
    assert response.status_code == 400
    assert "with an offset" in mistakes(response)[name]


@pytest.mark.parametrize("name", ["created_after", "created_before"])
def test_a_plus_that_is_not_encoded_is_a_clear_error(client, name):
    """In a query `+` is a space, so this time has lost its offset on the way."""
    response = client.get(f"{INTERACTIONS}?{name}=2026-03-01T12:00:00+01:00")
    assert response.status_code == 400
    assert "offset, such as 2026-11-22T09:30:00Z" in mistakes(response)[name]


@pytest.mark.parametrize("name", ["created_after", "created_before"])
@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_the_edges_of_the_calendar_are_no_mistake_of_the_server(client, name, text):
    client.raise_request_exception = False
    for path in (INTERACTIONS, of_user("ada")):
        assert client.get(path, {name: text}).status_code in (200, 400)


@pytest.mark.parametrize(
    "limit", ["0", "201", "abc", "1e9", "1000000000", "-1", "", "1.5", " 5", "+5", "٣", "9" * 5000]
)
def test_a_limit_outside_1_to_200_is_refused(client, limit):
    for path in (INTERACTIONS, of_user("ada")):
        response = client.get(path, {"limit": limit})
        assert response.status_code == 400
        assert mistakes(response) == {"limit": "must be a whole number from 1 to 200."}


def test_a_parameter_is_given_once(client):
    response = client.get(f"{INTERACTIONS}?limit=5&limit=5&created_after=x&created_after=y")
    assert response.status_code == 400
    assert mistakes(response) == {
        "limit": "must be given once.",
        "created_after": "must be given once.",
    }


def test_every_bad_parameter_is_reported_at_once_with_the_names_that_are_known(client):
    response = client.get(of_user("ada"), {"limits": "5", "user_id": "ada", "limit": "x"})
    assert response.status_code == 400
    found = mistakes(response)
    assert set(found) == {"limits", "user_id", "limit"}
    assert "limit, cursor, created_after, created_before" in found["limits"]


@pytest.fixture
def cursor(client, fill):
    """A cursor of ada's list."""
    fill("ada", 3)
    fill("bob", 3)
    address = client.get(of_user("ada"), {"limit": 1}).json()["next"]
    return parse_qs(urlsplit(address).query)["cursor"][0]


def refused(response):
    assert response.status_code == 400
    assert response["Content-Type"] == PROBLEM
    return list(mistakes(response)) == ["cursor"]


def test_a_cursor_works_with_another_limit(client, cursor):
    page = client.get(of_user("ada"), {"cursor": cursor, "limit": 200})
    assert ids(page) == ["ada:001", "ada:000"]


def test_a_cursor_of_another_user_or_list_is_refused(client, cursor):
    assert client.get(of_user("ada"), {"cursor": cursor}).status_code == 200
    assert refused(client.get(of_user("bob"), {"cursor": cursor}))
    assert refused(client.get(INTERACTIONS, {"cursor": cursor}))


def test_a_cursor_of_everyones_list_is_refused_for_a_user(client, fill):
    fill("ada", 2)
    address = client.get(INTERACTIONS, {"limit": 1}).json()["next"]
    cursor = parse_qs(urlsplit(address).query)["cursor"][0]
    assert refused(client.get(of_user("ada"), {"cursor": cursor}))


@pytest.mark.parametrize("name", ["created_after", "created_before"])
def test_a_cursor_of_another_period_is_refused(client, cursor, name):
    assert refused(client.get(of_user("ada"), {"cursor": cursor, name: "2026-03-01T00:00:00Z"}))


def test_a_cursor_that_was_changed_is_refused(client, cursor):
    for position in range(0, len(cursor), 7):
        other = "A" if cursor[position] != "A" else "B"
        changed = cursor[:position] + other + cursor[position + 1 :]
        assert refused(client.get(of_user("ada"), {"cursor": changed}))


@pytest.mark.parametrize("text", ["", "x", ":", "a:b:c", "née", "\0", "x" * 5000, "W10:AA"])
def test_what_was_never_a_cursor_is_refused(client, text):
    assert refused(client.get(of_user("ada"), {"cursor": text}))


def test_a_bound_key_pages_through_its_own_user(make_client, fill):
    expected = fill("ada", 5)
    fill("eve", 5)
    assert joined(walk(make_client("ada"), of_user("ada"), limit=2)) == expected


def test_everyones_list_is_not_for_bound_keys(make_client, fill):
    fill("ada", 1)
    response = make_client("ada").get(INTERACTIONS)
    assert response.status_code == 403
    assert response["Content-Type"] == PROBLEM
    assert "service-wide" in response.json()["detail"]


def test_everyones_list_is_for_staff_who_may_view_interactions(admin_client, fill):
    expected = fill("ada", 3)
    assert admin_client.get(INTERACTIONS).status_code == 403  # without a reason nobody reads texts
    reveal(admin_client, "ada")
    assert joined(walk(admin_client, INTERACTIONS, limit=2)) == expected
    assert joined(walk(admin_client, of_user("ada"), limit=2)) == expected
