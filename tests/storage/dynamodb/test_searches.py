"""What a page of a search asks of DynamoDB, however many interactions there are."""

from datetime import UTC, datetime, timedelta

import pytest
from fakeredis import FakeRedisConnection

from storage import searching
from storage.records.searches import Search
from tests.clouds import make_cache, make_storage

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def make_filled(dynamodb_model, make_interaction):
    """Makes a storage with so many interactions."""

    def make(count):
        storage = make_storage(
            dynamodb_model, make_cache("redis://fakeredis/0", connection_class=FakeRedisConnection)
        )
        # The newest have the same ids, and so are in the same shards, however many there are.
        storage.create_interactions_sync(
            [
                make_interaction(
                    interaction_id=f"i{count - n}", created_at=NOON + timedelta(seconds=n)
                )
                for n in range(count)
            ]
        )
        return storage

    return make


def calls_of(storage, monkeypatch):
    """The names of the operations that are asked for from now on."""
    asked = []
    request = storage.database.client.request

    def counted(operation, parameters):
        asked.append(operation)
        return request(operation, parameters)

    monkeypatch.setattr(storage.database.client, "request", counted)
    return asked


@pytest.mark.parametrize("user_id", ["ada", None])
def test_a_page_makes_the_same_calls(make_filled, monkeypatch, user_id):
    asked = []
    for count in (250, 500):
        storage = make_filled(count)
        monkeypatch.setattr(storage.database, "examined_at_most", 200)
        monkeypatch.setattr(searching, "SECONDS", 300.0)
        calls = calls_of(storage, monkeypatch)
        page = storage.search_interactions_sync(Search(user_id=user_id, model_used="none"))
        assert (page.records, page.searched_until) == ([], NOON + timedelta(seconds=count - 200))
        asked.append(sorted(calls))
    assert asked[0] == asked[1]
    assert asked[0].count("BatchGetItem") == 2  # of 100 rows
