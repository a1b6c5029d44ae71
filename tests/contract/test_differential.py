"""SQLite and DynamoDB tell the same, whatever is done to both.

CONTRACT_EXAMPLES and CONTRACT_STEPS ask for more and for longer sequences:
CONTRACT_EXAMPLES=2000 CONTRACT_STEPS=50 pytest -s tests/contract/test_differential.py --timeout=0
"""

import pytest
from hypothesis import Phase

from storage import get_storage
from storage.dynamodb import shards
from storage.interface import LocalStorage
from storage.records import texts
from storage.records.outcomes import Outcome
from tests.clocks import Clock
from tests.clouds import PATIENT, make_cache, make_storage, storage_of
from tests.contract import conftest as _profile  # noqa: F401  (the profile of the examples)
from tests.contract.raising import only_raising, raising_machine
from tests.contract.sequences import LARGE_BYTES, run_sequences

pytestmark = pytest.mark.django_db(transaction=True, available_apps=["storage"])

# Of a difference that a control makes, one example is enough, however large.
AT_ONCE = {"phases": [Phase.generate], "report_multiple_bugs": False}


@pytest.fixture(autouse=True)
def _some_texts_are_large(monkeypatch):
    monkeypatch.setattr(texts, "INLINE_MAX_BYTES", LARGE_BYTES)


@pytest.fixture
def local():
    storage = get_storage()
    assert isinstance(storage, LocalStorage)
    return storage


@pytest.fixture
def shared_cache(valkey_cluster):
    return make_cache(valkey_cluster.url, **PATIENT)


@pytest.fixture
def cloud(dynamodb_model, shared_cache, patient):
    return make_storage(dynamodb_model, shared_cache)


@pytest.fixture
def other(cloud, shared_cache):
    """Another process with the same table and cache."""
    return storage_of(cloud.database.client, shared_cache)


def test_both_backends_tell_the_same(local, cloud):
    print(f"{run_sequences(local, cloud)}; no difference.")


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(shards, "time", clock)
    return clock


def test_a_raise_of_the_shards_in_the_middle_changes_nothing(local, cloud, other, clock):
    machine = raising_machine(other, clock)
    print(f"{run_sequences(local, cloud, machine=machine)}; no difference.")


@pytest.mark.exhaustive  # tests/storage/dynamodb/test_shards.py has a cheap one
def test_a_raise_without_its_wait_is_found(local, cloud, other, clock):
    # The control: new interactions go to shards that another process does not read yet.
    machine = only_raising(raising_machine(other, clock, wait=0))
    with pytest.raises(AssertionError):
        run_sequences(local, cloud, machine=machine, max_examples=100, **AT_ONCE)


def test_a_difference_is_found(local, cloud, monkeypatch):
    # The control: a backend that forgets whose interaction it is.
    delete = type(cloud.database).delete
    monkeypatch.setattr(
        type(cloud.database), "delete", lambda self, key, user: delete(self, key, None)
    )
    with pytest.raises(AssertionError):
        run_sequences(local, cloud, **AT_ONCE)


def test_an_outcome_that_differs_is_found(local, cloud, monkeypatch):
    create_many = type(cloud.database).create_many

    def never_a_conflict(self, batch):
        outcomes = create_many(self, batch)
        return [Outcome.UNCHANGED if each is Outcome.CONFLICT else each for each in outcomes]

    monkeypatch.setattr(type(cloud.database), "create_many", never_a_conflict)
    with pytest.raises(AssertionError):
        run_sequences(local, cloud, **AT_ONCE)
