"""How much each API key is used: what is counted, what is not, and what it costs."""

import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from storage.accounts import api_keys, forget_user, key_use
from storage.models import ApiKey, ApiKeyUse
from tests.chat.calls import INTERACTIONS
from tests.entrances import LongWay

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.every_sql]


@pytest.fixture
def made():
    return ApiKey.objects.create_key(name="test", user_id="ada")


def counts():
    return list(ApiKeyUse.objects.order_by("prefix").values_list("calls", "refused"))


@pytest.mark.parametrize("way", ["entrance", "django"])
def test_calls_and_refusals_are_counted_on_both_ways_in(
    storage, make_client, key_uses, settings, monkeypatch, way
):
    if way == "django":
        monkeypatch.setattr("django.test.client.ClientHandler", LongWay)
    client = make_client("ada")
    assert client.get("/api/v1/users/ada/interactions/").status_code == 200
    assert client.get("/api/v1/users/eve/interactions/").status_code == 403
    assert client.get(INTERACTIONS).status_code == 403
    settings.RATE_LIMIT_PER_KEY = 1
    statuses = {client.get("/api/v1/users/ada/interactions/").status_code for _ in range(2)}
    assert statuses == {200, 429}
    key_uses.flush()
    assert counts() == [(5, 3)]


def test_what_comes_with_a_key_that_no_longer_works_is_refused(made, key_uses):
    record, key = made
    assert api_keys.find(key)
    ApiKey.objects.update(expiry_date=timezone.now() - timedelta(seconds=1))
    api_keys.forget()
    assert api_keys.find(key) is None
    assert api_keys.find(f"{record.prefix}.another-secret") is None
    key_uses.flush()
    assert counts() == [(3, 2)]


def test_strangers_take_no_space(made, key_uses):
    for number in range(100):
        api_keys.find(f"prefix{number:02}.secret")
    assert not key_uses._calls
    assert not key_uses._refused
    key_uses.flush()
    assert counts() == []


def test_days_add_up_over_processes_and_the_last_use_is_about_right(made, key_uses):
    record, key = made
    other = key_use.Uses(in_background=False)
    other.called(record.prefix)
    other.flush()
    used = ApiKey.objects.get().last_used_at
    assert datetime.now(UTC) - used < timedelta(minutes=1)
    api_keys.find(key)
    key_uses.flush()
    assert counts() == [(2, 0)]
    assert ApiKey.objects.get().last_used_at == used, "written once a minute"


def test_what_cannot_be_written_waits(made, key_uses, monkeypatch, caplog):
    add = key_use._add

    def fail(*args):
        raise OSError("full")

    monkeypatch.setattr(key_use, "_add", fail)
    key_uses.called(made[0].prefix)
    key_uses.flush()
    assert "wait" in caplog.text
    monkeypatch.setattr(key_use, "_add", add)
    key_uses.called(made[0].prefix)
    key_uses.flush()
    assert counts() == [(2, 0)]


def test_a_call_counts_once_if_only_the_last_use_cannot_be_written(made, key_uses, monkeypatch):
    used = key_use._used

    def fail(*args):
        raise OSError("full")

    monkeypatch.setattr(key_use, "_used", fail)
    key_uses.called(made[0].prefix)
    key_uses.flush()
    monkeypatch.setattr(key_use, "_used", used)
    key_uses.flush()
    assert counts() == [(1, 0)]
    assert ApiKey.objects.get().last_used_at is not None


class Yielding(dict):
    """Lets another thread run between the reading of a count and its writing."""

    def get(self, *args):
        found = super().get(*args)
        time.sleep(0)
        return found


def test_no_count_is_lost_between_threads(made, key_uses):
    """Without the lock most are."""
    key_uses._calls = Yielding()

    def call():
        for _ in range(200):
            key_uses.called(made[0].prefix)

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    key_uses.flush()
    assert counts() == [(800, 0)]


def test_the_counts_go_with_a_key_of_an_erased_user(made, key_uses):
    key_uses.called(made[0].prefix)
    key_uses.flush()
    key_uses.called(made[0].prefix)
    forget_user("ada")
    key_uses.flush()
    assert counts() == []


def test_old_days_are_removed():
    today = datetime(2026, 11, 30, tzinfo=UTC)
    for age in range(4):
        ApiKeyUse.objects.create(prefix="p", day=today.date() - timedelta(days=age))
    until = today - timedelta(days=1)
    assert key_use.count_old(until) == 2
    assert [key_use.remove(until, 1) for _ in range(3)] == [1, 1, 0]
    assert ApiKeyUse.objects.count() == 2
