"""An idempotency key and its interaction in DynamoDB: both are there, or neither is."""

import pytest
from django.core.cache.backends.dummy import DummyCache

from storage.dynamodb import pauses
from storage.dynamodb.client import TransactionCanceled
from storage.exceptions import StorageUnavailable
from storage.models.idempotency import Idempotency
from tests.clouds import make_storage

READS = {"GetItem", "BatchGetItem", "Query"}


class Cut(Exception):
    """The process ends here."""


@pytest.fixture
def cloud(dynamodb_model):
    return make_storage(dynamodb_model, DummyCache("", {}))


def cut_before(monkeypatch, client, number):
    """The process ends before its `number`-th request that writes; gives how many it has sent."""
    request = client.request
    sent = []

    def until(operation, parameters):
        if operation not in READS:
            if len(sent) + 1 == number:
                raise Cut
            sent.append(operation)
        return request(operation, parameters)

    monkeypatch.setattr(client, "request", until)
    return sent


@pytest.mark.parametrize("exists", [False, True], ids=["new", "there already"])
def test_wherever_the_process_ends_a_repeat_makes_one_interaction(
    cloud, make_interaction, monkeypatch, exists
):
    for number in range(1, 10):
        key = Idempotency(f"{number:064}", "r" * 64)
        first, again = f"first-{number}", f"again-{number}"
        if exists:
            again = first
            cloud.create_interaction_sync(make_interaction(interaction_id=first))
        with monkeypatch.context() as patch:
            sent = cut_before(patch, cloud.database.client, number)
            try:
                cloud.create_interaction_sync(make_interaction(interaction_id=first), key)
            except Cut:
                pass
            else:
                break
        stored, created = cloud.create_interaction_sync(make_interaction(interaction_id=again), key)
        assert (stored.interaction_id, created) == (again, not exists), sent
        kept = [name for name in {first, again} if cloud.get_interaction_sync(name)]
        assert kept == [again], sent
    else:
        pytest.fail("it never ended")
    assert len(sent) < number
    assert sent


def test_a_condition_on_each_earlier_hash_is_all_that_a_change_costs(
    cloud, make_interaction, monkeypatch
):
    requests = []
    request = cloud.database.client.request

    def recorded(operation, parameters):
        requests.append((operation, parameters))
        return request(operation, parameters)

    monkeypatch.setattr(cloud.database.client, "request", recorded)
    cloud.create_interaction_sync(make_interaction(), Idempotency("k" * 64, "r"))
    earlier = (Idempotency("o" * 64, "r"), Idempotency("p" * 64, "r"))
    cloud.create_interaction_sync(make_interaction(), Idempotency("l" * 64, "r", earlier))
    assert [operation for operation, _ in requests] == ["TransactWriteItems"] * 2
    parts = [[name for part in sent["TransactItems"] for name in part] for _, sent in requests]
    assert parts == [["Put", "Put"], ["Put", "Put", "ConditionCheck", "ConditionCheck"]]


@pytest.mark.parametrize(
    ("codes", "said"),
    [
        ({"ThrottlingError"}, "did not complete TransactWriteItems: ThrottlingError"),
        ({"TransactionConflict"}, "being changed by others"),
        ({"ConditionalCheckFailed", "ThrottlingError"}, "being changed by others"),
    ],
)
def test_what_keeps_a_transaction_from_its_end_is_said(
    cloud, make_interaction, monkeypatch, codes, said
):
    request = cloud.database.client.request

    def cancelled(operation, parameters):
        if operation == "TransactWriteItems":
            raise TransactionCanceled(codes)
        return request(operation, parameters)

    monkeypatch.setattr(cloud.database.client, "request", cancelled)
    monkeypatch.setattr(pauses, "SECONDS", 0.01)
    with pytest.raises(StorageUnavailable, match=said):
        cloud.create_interaction_sync(make_interaction(), Idempotency("k" * 64, "r" * 64))


def test_a_lost_answer_does_not_make_a_repeat_of_a_repeat(cloud, make_interaction, monkeypatch):
    """The row is written, the answer is lost, and the client tries again with a new id."""
    request = cloud.database.client.request
    key = Idempotency("k" * 64, "r" * 64)

    def lost(operation, parameters):
        request(operation, parameters)
        raise StorageUnavailable("lost")

    with monkeypatch.context() as patch:
        patch.setattr(cloud.database.client, "request", lost)
        with pytest.raises(StorageUnavailable):
            cloud.create_interaction_sync(make_interaction(interaction_id="first"), key)
    stored, created = cloud.create_interaction_sync(make_interaction(interaction_id="again"), key)
    assert (stored.interaction_id, created) == ("first", False)
    assert cloud.get_interaction_sync("again") is None
