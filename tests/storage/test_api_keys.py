"""API keys: found when valid; and revoked ones soon stop working."""

from datetime import timedelta
from types import SimpleNamespace

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from storage.accounts import api_keys
from storage.exceptions import StorageUnavailable
from storage.models import ApiKey

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.every_sql]


@pytest.fixture
def clock(monkeypatch):
    """The clock that `api_keys` goes by; `clock.now` can be moved."""
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(api_keys, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


@pytest.fixture
def made():
    """A valid key: the record, and what the client shows."""
    return ApiKey.objects.create_key(name="test", user_id="ada")


def test_a_valid_key_is_found_with_its_user(made):
    record, key = made
    found = api_keys.find(key)
    assert (found.pk, found.user_id) == (record.pk, "ada")


def test_a_key_is_looked_up_once_while_it_is_remembered(made, clock):
    api_keys.find(made[1])
    clock.now += api_keys.MEMORY_SECONDS - 0.001
    with CaptureQueriesContext(connection) as queries:
        assert api_keys.find(made[1]) is not None
    assert len(queries) == 0


def test_a_revoked_key_stops_working_when_its_memory_ends(made, clock):
    record, key = made
    assert api_keys.find(key) is not None
    record.revoked = True
    record.save()
    clock.now += api_keys.MEMORY_SECONDS
    assert api_keys.find(key) is None


def test_being_used_all_the_time_does_not_keep_a_revoked_key_alive(made, clock):
    record, key = made
    api_keys.find(key)
    record.revoked = True
    record.save()
    for _ in range(5):
        clock.now += api_keys.MEMORY_SECONDS / 4
        found = api_keys.find(key)
    assert found is None


def test_a_revoked_key_is_not_found_again_after_it_was_forgotten(made):
    record, key = made
    api_keys.find(key)
    record.revoked = True
    record.save()
    api_keys.forget()
    assert api_keys.find(key) is None


def test_a_deleted_key_stops_working_when_its_memory_ends(made, clock):
    record, key = made
    api_keys.find(key)
    record.delete()
    clock.now += api_keys.MEMORY_SECONDS
    assert api_keys.find(key) is None


def test_revoked_means_within_seconds():
    assert api_keys.MEMORY_SECONDS <= 5


def test_an_expired_key_is_not_found():
    _, key = ApiKey.objects.create_key(
        name="expired", expiry_date=timezone.now() - timedelta(seconds=1)
    )
    assert api_keys.find(key) is None


def test_a_key_that_has_not_yet_expired_is_found():
    _, key = ApiKey.objects.create_key(name="soon", expiry_date=timezone.now() + timedelta(hours=1))
    assert api_keys.find(key) is not None


def test_a_new_key_works_although_it_was_refused_before(made, clock):
    record, key = made
    record.delete()
    assert api_keys.find(key) is None
    record.save(force_insert=True)
    assert api_keys.find(key) is not None


@pytest.mark.parametrize(
    "key",
    [
        "",
        ".",
        "nonsense",
        "prefix12.",
        ".secret",
        "a" * 100_000,
        "ключ.секрет",
        "\0",
        "a\nb",
        "\x7f",
        "\ud800",
        "😀",
        "' OR 1=1 --",
        "%",
    ],
    ids=lambda key: ascii(key)[:20],
)
def test_garbage_is_not_found(made, key):
    assert api_keys.find(key) is None


def test_a_part_of_a_key_is_not_enough(made):
    _, key = made
    prefix, _, secret = key.partition(".")
    for wrong in (prefix, f"{prefix}.", secret, f".{secret}", f"{key}x", key[:-1], key.upper()):
        assert api_keys.find(wrong) is None
    assert api_keys.find(key) is not None


def test_one_keys_prefix_with_anothers_secret_is_not_found(made):
    _, other = ApiKey.objects.create_key(name="other")
    mixed = f"{made[1].partition('.')[0]}.{other.partition('.')[2]}"
    assert api_keys.find(mixed) is None


def test_the_memory_holds_no_key_in_clear(made):
    _, key = made
    api_keys.find(key)
    secret = key.partition(".")[2]
    assert api_keys._verified
    assert not any(secret.encode() in digest for digest in api_keys._verified)
    assert secret not in repr([vars(found) for _, found in api_keys._verified.values()])


def test_keys_that_are_unknown_are_not_remembered(made):
    for n in range(10):
        api_keys.find(f"prefix.{n}")
    assert api_keys._verified == {}


def test_the_memory_does_not_grow_without_end(monkeypatch):
    monkeypatch.setattr(api_keys, "MEMORY_SIZE", 3)
    keys = [ApiKey.objects.create_key(name=str(n))[1] for n in range(8)]
    for key in keys:
        assert api_keys.find(key) is not None
        assert len(api_keys._verified) <= 3


def test_a_database_that_does_not_answer_is_not_a_wrong_key(made, monkeypatch):
    def fail(*args, **kwargs):
        from django.db import OperationalError

        raise OperationalError("database is locked")

    monkeypatch.setattr(ApiKey.objects, "filter", fail)
    with pytest.raises(StorageUnavailable):
        api_keys.find(made[1])
