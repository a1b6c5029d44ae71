"""GET /api/v1/usage/: what was used, by whom, and what it cost."""

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from storage.accounts import roll_ups
from storage.accounts.roll_ups import DayUsage
from storage.limits import TOKENS_MAX
from storage.models import ModelPrice, UsageOfModel, UsageOfUser
from storage.records.sums import SUM_MAX
from tests.chat.usage_rows import priced, today, used

pytestmark = pytest.mark.every_sql

URL = "/api/v1/usage/"
MILLION = 1_000_000


def days_ago(number):
    return (today() - timedelta(days=number)).isoformat()


@pytest.fixture
def usage(transactional_db):
    """Two models, the second without a price, and three users."""
    used(0, "model-1", {"ada": (3, MILLION, 2 * MILLION), "eve": (1, 10, 10)}, answered=False)
    used(0, "model-2", {"ada": (2, 8, 9)})
    used(5, "model-1", {"bob": (4, MILLION, 0)})
    used(40, "model-1", {"ada": (100, 100, 100)})
    priced("model-1", 1000, "1", "2")


def test_by_default_the_last_30_days_by_day_and_model(client, usage):
    found = client.get(URL).json()
    assert (found["start_date"], found["end_date"]) == (days_ago(29), days_ago(0))
    assert found["results"] == [
        {
            "day": days_ago(5),
            "model_used": "model-1",
            "interactions": 4,
            "unanswered": 0,
            "input_tokens": MILLION,
            "output_tokens": 0,
            "cost": "1",
            "unpriced_interactions": 0,
        },
        {
            "day": days_ago(0),
            "model_used": "model-1",
            "interactions": 4,
            "unanswered": 4,
            "input_tokens": MILLION + 10,
            "output_tokens": 2 * MILLION + 10,
            "cost": "5.00003",
            "unpriced_interactions": 0,
        },
        {
            "day": days_ago(0),
            "model_used": "model-2",
            "interactions": 2,
            "unanswered": 0,
            "input_tokens": 8,
            "output_tokens": 9,
            "cost": None,
            "unpriced_interactions": 2,
        },
    ]
    assert found["next"] is None
    assert found["currency"] == "USD"
    assert found["unpriced_models"] == ["model-2"]


def test_a_group_with_and_without_a_price_has_the_cost_of_what_has_one(client, usage):
    (line,) = client.get(f"{URL}?group_by=user&user_id=ada").json()["results"]
    assert line == {
        "user_id": "ada",
        "interactions": 5,
        "unanswered": 3,
        "input_tokens": MILLION + 8,
        "output_tokens": 2 * MILLION + 9,
        "cost": "5",
        "unpriced_interactions": 2,
    }


@pytest.mark.parametrize("group_by", ["model", "user", "day,user"])
def test_each_day_has_the_price_that_holds_on_it(client, transactional_db, group_by):
    for number in (9, 5, 4, 3, 0):
        used(number, "model-1", {"ada": (1, MILLION, 0)})
    priced("model-1", 5, "1")
    priced("model-1", 3, "10")
    priced("model-2", 4, "100")
    priced("model-1", -1, "1000")  # from tomorrow on
    results = client.get(f"{URL}?group_by={group_by}").json()["results"]
    assert sum(float(line["cost"] or 0) for line in results) == 1 + 1 + 10 + 10
    assert sum(line["unpriced_interactions"] for line in results) == 1


def test_a_changed_price_changes_the_past(client, usage):
    ModelPrice.objects.update(input_price="0.000001", output_price=0)
    (line,) = client.get(f"{URL}?start_date={days_ago(5)}&end_date={days_ago(5)}").json()["results"]
    assert line["cost"] == "0.000001"


GROUPS = ["day", "model", "user", "day,user", "day,model,user"]


@pytest.mark.parametrize("group_by", GROUPS)
def test_sums_that_are_too_large_end_where_integers_do(client, transactional_db, group_by):
    half = Counter(interactions=1, input_tokens=SUM_MAX - 1, output_tokens=SUM_MAX - 1)
    of_users = {(user_id, "model-1"): half for user_id in ("ada", "bob")}
    for _ in range(2):
        roll_ups.add(today(), DayUsage({"model-1": half}, of_users))
    priced("model-1", 1000, "1", "2")
    response = client.get(URL, {"group_by": group_by})
    assert response.status_code == 200
    line = response.json()["results"][0]
    assert (line["input_tokens"], line["output_tokens"]) == (SUM_MAX, SUM_MAX)
    assert client.get("/api/v1/usage/").status_code == 200


def test_what_is_taken_away_from_such_a_sum_stops_no_counting(client, transactional_db):
    most = Counter(interactions=1, input_tokens=SUM_MAX, output_tokens=SUM_MAX)
    gone = Counter(input_tokens=-SUM_MAX, output_tokens=-SUM_MAX)
    days = [today() - timedelta(days=number) for number in range(2)]
    for day in days:
        for each in (most, gone, gone, gone):
            roll_ups.add(day, DayUsage({"model-1": each}, {("ada", "model-1"): each}))
    for model in (UsageOfModel, UsageOfUser):
        sums = model.objects.values_list("input_tokens", "output_tokens")
        assert [*sums] == [(-SUM_MAX, -SUM_MAX)] * len(days)
    for group_by in GROUPS:
        assert client.get(URL, {"group_by": group_by}).status_code == 200


@pytest.mark.on_sqlite("elsewhere the stream tells what was used")
def test_as_many_tokens_as_there_may_be_in_more_calls_than_integers_hold(
    client, storage, make_interaction
):
    most = {"input_tokens": TOKENS_MAX, "output_tokens": TOKENS_MAX}
    for _ in range(11):
        storage.create_interactions_sync([make_interaction(**most) for _ in range(100)])
    priced("model-1", 1000, "1", "2")
    for group_by in GROUPS:
        response = client.get(URL, {"group_by": group_by})
        assert response.status_code == 200
        assert response.json()["results"][0]["input_tokens"] == SUM_MAX


def test_users_come_page_by_page_each_once(client, transactional_db):
    names = sorted(["ada", "Ada", "bob", "eve", "=cmd", "ü", "a/b", "\U0001f600"])
    for number in (0, 3):
        used(number, "model-1", dict.fromkeys(names, (1, 2, 3)))
    used(200, "model-1", {"long ago": (1, 1, 1)})
    used(0, "model-2", {"other model": (1, 1, 1)})
    url, seen = f"{URL}?group_by=user,day&limit=3&model_used=model-1", []
    while url:
        page = client.get(url).json()
        assert len(page["results"]) <= 2 * 3
        seen += [(line["user_id"], line["day"]) for line in page["results"]]
        url = page["next"]
    assert seen == [(name, days_ago(number)) for name in names for number in (3, 0)]


def test_the_next_page_is_about_the_same_days_and_query(client, transactional_db):
    used(0, "model-1", dict.fromkeys("abc", (1, 2, 3)))
    following = client.get(f"{URL}?group_by=user&limit=1").json()["next"]
    assert f"start_date={days_ago(29)}" in following
    assert f"end_date={days_ago(0)}" in following
    response = client.get(f"{following}&model_used=model-1")
    assert response.status_code == 400
    assert [error["parameter"] for error in response.json()["errors"]] == ["cursor"]


def test_a_key_of_a_user_sees_this_users_usage_alone(make_client, usage):
    eve = make_client("eve")
    (line,) = eve.get(f"{URL}?group_by=day,user").json()["results"]
    assert (line["user_id"], line["interactions"]) == ("eve", 1)
    assert eve.get(URL).json()["results"][0]["interactions"] == 1
    assert eve.get(f"{URL}?user_id=eve").status_code == 200
    assert eve.get(f"{URL}?user_id=ada").status_code == 403
    assert make_client("nobody").get(URL).json()["results"] == []


@pytest.mark.every_sql(exhaustive=True)  # it reaches no database
@pytest.mark.parametrize(
    ("query", "parameter", "part"),
    [
        ("from=2026-11-01", "from", "the parameters are: start_date, end_date"),
        ("start_date=2026-02-30", "start_date", "must be a day, such as"),
        ("start_date=2026-11-01T00:00:00Z", "start_date", "must be a day"),
        ("start_date=2026-11-02&end_date=2026-11-01", "start_date", "must be the last day or"),
        ("start_date=2025-01-01&end_date=2026-11-01", "start_date", "at most 365 days"),
        ("group_by=week", "group_by", "must be one or more of day, model, user"),
        ("group_by=", "group_by", "must be one or more of"),
        ("group_by=day,day", "group_by", "each once"),
        ("limit=0", "limit", "must be a whole number from 1 to 100"),
        ("limit=101", "limit", "must be a whole number"),
        ("user_id=", "user_id", "must have 1 to 255 characters"),
        ("user_id=a%00b", "user_id", "control characters"),
        ("model_used=", "model_used", "must have 1 to 255"),
        ("model_used=a%00b", "model_used", "must not contain the character NUL"),
        ("user_id=a&user_id=b", "user_id", "must be given once"),
        ("cursor=", "cursor", "must not be empty"),
    ],
)
def test_what_is_not_understood_is_named(client, query, parameter, part):
    response = client.get(f"{URL}?{query}")
    assert response.status_code == 400
    (error,) = response.json()["errors"]
    assert error["parameter"] == parameter
    assert part in error["detail"]


@pytest.mark.parametrize("query", ["cursor=x", "end_date=0001-01-01", "start_date=9999-12-31"])
def test_odd_values_are_no_errors_of_the_server(client, query):
    assert client.get(f"{URL}?{query}").status_code in (200, 400)


@pytest.mark.parametrize("until", [None, datetime(2026, 11, 30, 12, tzinfo=UTC)])
def test_it_says_up_to_when_it_is_complete(client, storage, monkeypatch, until):
    monkeypatch.setattr(storage.database, "count_usage", lambda seconds: until)
    expected = None if until is None else "2026-11-30T12:00:00.000000Z"
    assert client.get(URL).json()["complete_until"] == expected
