"""Replay protection in the SQL database: how long keys are kept, and that no text is."""

from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from storage.exceptions import IdempotencyKeyReused, StorageUnavailable
from storage.models import ChatInteraction, IdempotencyRecord
from storage.models.idempotency import IDEMPOTENCY_LIFETIME, Idempotency
from storage.sqlite import idempotency_keys

FIRST = Idempotency(key="k" * 64, request="r" * 64)
OTHER = Idempotency(key=FIRST.key, request="s" * 64)


@pytest.fixture
def later(monkeypatch):
    """Moves the clock so much on."""
    now = timezone.now

    def move(delta):
        monkeypatch.setattr(timezone, "now", lambda: now() + delta)

    return move


def test_a_key_is_remembered_for_24_hours(storage, make_interaction, later):
    assert timedelta(hours=24) == IDEMPOTENCY_LIFETIME
    storage.create_interaction_sync(make_interaction(), FIRST)
    later(timedelta(hours=23, minutes=59))
    with pytest.raises(IdempotencyKeyReused):
        storage.create_interaction_sync(make_interaction(), OTHER)


def test_after_24_hours_a_key_counts_as_new(storage, make_interaction, later):
    storage.create_interaction_sync(make_interaction(), FIRST)
    later(timedelta(hours=24, minutes=1))
    made, created = storage.create_interaction_sync(make_interaction(), OTHER)
    assert created is True
    # And from now on it stands for the new request.
    repeated, created = storage.create_interaction_sync(make_interaction(), OTHER)
    assert (repeated.interaction_id, created) == (made.interaction_id, False)


def test_expired_records_go_without_a_job_of_their_own(storage, make_interaction, later):
    for n in range(10):
        storage.create_interaction_sync(make_interaction(), Idempotency(f"old-{n}", "r"))
    later(timedelta(hours=25))
    for n in range(10):
        storage.create_interaction_sync(make_interaction(), Idempotency(f"new-{n}", "r"))
    assert IdempotencyRecord.objects.filter(key__startswith="old").count() == 0
    assert IdempotencyRecord.objects.filter(key__startswith="new").count() == 10


def test_one_write_takes_only_a_few_expired_records_along(storage, make_interaction, later):
    for n in range(10):
        storage.create_interaction_sync(make_interaction(), Idempotency(f"old-{n}", "r"))
    later(timedelta(hours=25))
    storage.create_interaction_sync(make_interaction(), FIRST)
    left = IdempotencyRecord.objects.filter(key__startswith="old").count()
    assert left == 10 - idempotency_keys.EXPIRED_PER_WRITE


def test_a_record_holds_no_text_of_the_interaction(storage, make_interaction):
    secret = make_interaction(message="secret", response="secret")
    storage.create_interaction_sync(secret, FIRST)
    (row,) = IdempotencyRecord.objects.values()
    assert set(row) == {"key", "request", "interaction_id", "user_id", "expires_at"}
    assert "secret" not in str(row)


def test_requests_without_a_key_leave_no_record(storage, make_interaction):
    storage.create_interaction_sync(make_interaction())
    storage.create_interactions_sync([make_interaction()])
    assert not IdempotencyRecord.objects.exists()


def test_a_record_knows_its_user(storage, make_interaction, later):
    storage.create_interaction_sync(make_interaction(user_id="ada"), FIRST)
    assert IdempotencyRecord.objects.get().user_id == "ada"
    later(timedelta(hours=25))
    storage.create_interaction_sync(make_interaction(user_id="bob"), FIRST)
    assert IdempotencyRecord.objects.get().user_id == "bob"


@pytest.mark.parametrize("model", [IdempotencyRecord, ChatInteraction])
def test_if_the_second_of_the_two_writes_fails_neither_is_there(storage, make_interaction, model):
    """Whichever comes first. With only the row, a repeat would make a second one; with only the
    record, it would be told that the interaction was deleted."""
    refuse = f"CREATE TRIGGER refuse BEFORE INSERT ON {model._meta.db_table} BEGIN "
    with connection.cursor() as cursor:
        cursor.execute(f"{refuse} SELECT RAISE(FAIL, 'refused'); END")
    try:
        with pytest.raises(StorageUnavailable):
            storage.create_interaction_sync(make_interaction(interaction_id="first"), FIRST)
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP TRIGGER refuse")
    assert storage.get_interaction_sync("first") is None
    assert not IdempotencyRecord.objects.exists()
    _, created = storage.create_interaction_sync(make_interaction(interaction_id="again"), FIRST)
    assert created is True
