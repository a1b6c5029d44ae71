"""Limits of calls: by key, by address, what is counted, and what a client is told."""

import re

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from chat.api import addresses
from chat.api.addresses import address_of, is_from_proxies
from storage.accounts import api_keys
from storage.exceptions import StorageUnavailable
from storage.models import ApiKey
from storage.rate_limits.metrics import REFUSED
from tests.chat.calls import INTERACTIONS, PROBLEM, new, post
from tests.chat.limits import clock, limits

__all__ = ["clock", "limits"]

pytestmark = pytest.mark.every_backend(exhaustive=True)  # limits are in none

WRONG = {"Authorization": "Api-Key 12345678.wrong"}


def refusals(limit):
    return REFUSED.labels(limit)._value.get()


# By key


@pytest.fixture
def three(limits):
    limits.RATE_LIMIT_PER_KEY = 3


@pytest.mark.every_backend
def test_a_key_has_its_quota_and_is_told_what_is_left(client, three, clock):
    clock.passes(20)
    found = [client.get(INTERACTIONS) for _ in range(3)]
    assert [response.status_code for response in found] == [200] * 3
    assert {response["RateLimit-Policy"] for response in found} == {'"key";q=3;w=60'}
    assert [response["RateLimit"] for response in found] == [
        '"key";r=2;t=40',
        '"key";r=1;t=40',
        '"key";r=0;t=40',
    ]


def test_beyond_it_is_a_problem_with_the_time_to_wait(client, three, clock):
    before = refusals("key")
    for _ in range(3):
        client.get(INTERACTIONS)
    clock.passes(20)
    response = post(client, new())
    assert (response.status_code, response["Content-Type"]) == (429, PROBLEM)
    assert response.json() == {
        "type": "urn:problem-type:quota-exceeded",
        "title": "Quota exceeded",
        "status": 429,
        "detail": "This API key may make 3 calls a minute. Try again after `Retry-After` seconds.",
    }
    assert response["RateLimit-Policy"] == '"key";q=3;w=60'
    assert response["RateLimit"] == '"key";r=0;t=41'
    assert response["Retry-After"] == "41"
    assert refusals("key") == before + 1


def test_refusals_do_not_fill_the_log(client, three, caplog):
    for _ in range(10):
        client.get(INTERACTIONS)
    assert not caplog.records


def test_after_the_time_to_wait_it_is_accepted(client, three, clock):
    for _ in range(3):
        client.get(INTERACTIONS)
    seconds = int(client.get(INTERACTIONS)["Retry-After"])
    clock.passes(seconds - 1)
    assert client.get(INTERACTIONS).status_code == 429
    clock.passes(1)
    assert client.get(INTERACTIONS).status_code == 200


def test_what_is_refused_does_not_count(client, three, clock):
    for _ in range(30):
        client.get(INTERACTIONS)
    clock.passes(120)
    assert [client.get(INTERACTIONS).status_code for _ in range(4)] == [200, 200, 200, 429]


def test_the_window_slides(client, three, clock):
    clock.passes(59)
    for _ in range(3):
        client.get(INTERACTIONS)
    clock.passes(2)  # a new window, of which the one before still counts for 59 of 60 seconds
    assert [client.get(INTERACTIONS).status_code for _ in range(2)] == [200, 429]


def test_each_key_has_its_own(make_client, three):
    first, second = make_client(), make_client("ada")
    for _ in range(4):
        first.get(INTERACTIONS)
    assert first.get(INTERACTIONS).status_code == 429
    assert second.get("/api/v1/users/ada/interactions/").status_code == 200


def test_errors_and_exports_are_counted_and_told_as_well(client, three):
    assert client.get("/api/v1/interactions/unknown/")["RateLimit"].startswith('"key";r=2;')
    _, key = ApiKey.objects.create_key(name="desk", may_erase=True)
    desk = Client(headers={"Authorization": f"Api-Key {key}"})
    assert desk.get("/api/v1/users/ada/export/")["RateLimit"].startswith('"key";r=2;')


def test_scrapes_and_health_checks_are_not_counted(client, limits):
    limits.RATE_LIMIT_PER_KEY = limits.RATE_LIMIT_PER_ADDRESS = 1
    for path in ("/healthz", "/readyz"):
        assert [Client().get(path).status_code for _ in range(3)] == [200] * 3
    for _ in range(3):
        response = client.get("/metrics")
        assert response.status_code == 200
        assert "RateLimit" not in response
    assert client.get(INTERACTIONS).status_code == 200


def test_off_is_a_setting(client, limits):
    limits.RATE_LIMIT_PER_KEY = limits.RATE_LIMIT_PER_ADDRESS = 0
    response = client.get(INTERACTIONS)
    assert response.status_code == 200
    assert "RateLimit" not in response
    assert Client(headers=WRONG).get(INTERACTIONS).status_code == 401
    assert not (limits.DATA_DIR / "limits").exists()


# By address


@pytest.fixture
def two_strangers(limits, transactional_db):
    limits.RATE_LIMIT_PER_ADDRESS = 2


def test_keys_that_cannot_be_looked_up_do_not_count_for_the_address(
    two_strangers, client, monkeypatch
):
    """Otherwise a service would be refused on after the database is back."""

    def fail(key):
        raise StorageUnavailable("The database failed.")

    with monkeypatch.context() as patch:
        patch.setattr(api_keys, "_look_up", fail)
        assert [client.get(INTERACTIONS).status_code for _ in range(4)] == [503] * 4
    assert client.get(INTERACTIONS).status_code == 200


@pytest.mark.parametrize(
    "headers", [WRONG, {"Authorization": "Basic x"}, {"Authorization": "Api-Key  "}, {}]
)
@pytest.mark.parametrize("path", [INTERACTIONS, "/metrics"])
def test_wrong_keys_count_for_the_address(two_strangers, headers, path):
    stranger = Client(headers=headers)
    assert [stranger.get(path).status_code for _ in range(2)] == [401] * 2
    response = stranger.get(path)
    assert response.status_code == 429
    assert response["RateLimit-Policy"] == '"address";q=2;w=60'
    assert int(response["Retry-After"]) >= 1
    if path == INTERACTIONS:
        assert response["Content-Type"] == PROBLEM
        assert response.json()["type"] == "urn:problem-type:quota-exceeded"


def test_beyond_it_no_key_is_looked_up(two_strangers):
    stranger = Client(headers=WRONG)
    for _ in range(2):
        stranger.get(INTERACTIONS)
    with CaptureQueriesContext(connection) as queries:
        assert stranger.get(INTERACTIONS).status_code == 429
    assert len(queries) == 0


def test_another_address_is_not_affected(two_strangers):
    for _ in range(3):
        Client(headers=WRONG).get(INTERACTIONS)
    found = Client(headers=WRONG, REMOTE_ADDR="192.0.2.7").get(INTERACTIONS)
    assert found.status_code == 401


def test_valid_keys_do_not_count(two_strangers, make_client):
    for _ in range(5):
        assert make_client().get(INTERACTIONS).status_code == 200
        api_keys.forget()
    assert Client(headers=WRONG).get(INTERACTIONS).status_code == 401


def test_a_key_in_use_goes_on_beside_a_flood_from_its_address(two_strangers, client, monkeypatch):
    assert client.get(INTERACTIONS).status_code == 200
    for _ in range(3):
        Client(headers=WRONG).get(INTERACTIONS)
    later = api_keys.time.monotonic() + api_keys.MEMORY_SECONDS + 1
    monkeypatch.setattr(api_keys.time, "monotonic", lambda: later)
    assert client.get(INTERACTIONS).status_code == 200


def test_pages_count_and_are_refused_in_plain_words(two_strangers):
    assert [Client().get("/api/docs/").status_code for _ in range(2)] == [200] * 2
    response = Client().get("/admin/login/")
    assert response.status_code == 429
    assert response["Content-Type"] == "text/plain; charset=utf-8"
    assert re.fullmatch(r"Too many requests\. Try again in \d+ seconds\.", response.text)


# Whose address it is


@pytest.mark.parametrize(
    ("proxies", "forwarded", "address"),
    [
        (0, "203.0.113.9", "192.0.2.1"),
        (1, "203.0.113.9", "203.0.113.9"),
        (1, "1.1.1.1, 203.0.113.9", "203.0.113.9"),
        (1, "1.1.1.1,2.2.2.2,203.0.113.9", "203.0.113.9"),
        (2, "1.1.1.1, 203.0.113.9, 10.0.0.1", "203.0.113.9"),
        (2, "203.0.113.9", "192.0.2.1"),  # it has not come through both
        (1, "", "192.0.2.1"),
        (1, "unknown", "192.0.2.1"),
        (1, "203.0.113.9:5123", "203.0.113.9"),
        (1, "[2001:db8::1]:5123", "2001:db8::/64"),
        (1, "2001:db8::1:2:3:4", "2001:db8::/64"),
        (1, "2001:db8:0:0:ffff:2:3:4", "2001:db8::/64"),
        (1, "2001:db8:0:1::1", "2001:db8:0:1::/64"),
        (1, "::ffff:203.0.113.9", "203.0.113.9"),
        (1, "fe80::1%eth0", "fe80::/64"),
        (1, "203.0.113.9'; --", "192.0.2.1"),
    ],
)
@pytest.mark.on_sqlite("about settings")
def test_only_what_the_proxies_have_added_is_believed(settings, proxies, forwarded, address):
    settings.NUM_PROXIES = proxies
    environ = {"REMOTE_ADDR": "192.0.2.1", "HTTP_X_FORWARDED_FOR": forwarded}
    assert address_of(environ) == address


@pytest.mark.on_sqlite("about settings")
def test_without_any_address_all_are_one():
    assert address_of({}) == address_of({"REMOTE_ADDR": ""}) == ""


def test_of_a_long_header_only_the_length_of_an_address_is_remembered(settings, monkeypatch):
    settings.NUM_PROXIES, seen = 1, []
    monkeypatch.setattr(addresses, "_network", lambda text: seen.append(text) or "")
    environ = {"REMOTE_ADDR": "192.0.2.1", "HTTP_X_FORWARDED_FOR": "1" * 10_000}
    assert (address_of(environ), is_from_proxies(environ)) == ("192.0.2.1", False)
    assert max(map(len, seen)) <= 100
