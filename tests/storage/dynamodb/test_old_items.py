"""Items that earlier versions wrote are read, found, changed and counted as those of today are."""

from datetime import UTC, datetime, timedelta

import pytest
from django.core.cache.backends.dummy import DummyCache
from django.db import connections

from storage.dynamodb import items
from storage.exceptions import InteractionConflict
from storage.models import UsageOfModel
from storage.models.interaction import FIELDS
from storage.records.json import to_record
from storage.records.outcomes import Outcome
from storage.records.pages import PageQuery
from storage.records.questions import Question
from tests.clouds import make_storage
from tests.storage.dynamodb.old_items import to_old_item, to_old_stub

NOW = datetime.now(UTC)
LONG = "A balanced tree for disks. " * 40


@pytest.fixture
def cloud(dynamodb_model):
    return make_storage(dynamodb_model, DummyCache("", {}))


@pytest.fixture
def database(cloud):
    return cloud.database


@pytest.fixture
def put_old(database, make_interaction):
    """Stores an interaction as an earlier version did."""

    def put_old(**fields):
        given = {"interaction_id": "old", "created_at": NOW - timedelta(days=1), "response": LONG}
        interaction = make_interaction(**(given | fields))
        database.client.call("PutItem", Item=to_old_item(interaction))
        return interaction

    return put_old


@pytest.fixture
def stored(database):
    """The item of an interaction as it is stored."""

    def stored(interaction_id="old"):
        return database.client.call(
            "GetItem", Key=items.key_of(interaction_id), ConsistentRead=True
        )["Item"]

    return stored


def fields_of(interaction):
    return {name: getattr(interaction, name) for name in FIELDS}


def is_of_today(item):
    return not set(item) & set(items.OLD_NAMES)


@pytest.mark.parametrize("response", ["", "Short.", LONG])
def test_it_is_read_and_listed_beside_one_of_today(cloud, put_old, make_interaction, response):
    old = put_old(response=response)
    new = make_interaction(interaction_id="new", response=response, created_at=NOW)
    cloud.save_interaction_sync(new)
    assert fields_of(cloud.get_interaction_sync("old")) == fields_of(old)
    query = PageQuery(limit=10)
    for page in (
        cloud.list_user_interactions_sync("ada", query),
        cloud.list_interactions_sync(query),
    ):
        assert page.records == [to_record(new), to_record(old)]
    assert [found.interaction_id for found in cloud.database.oldest(NOW, 10, None)] == [
        "old",
        "new",
    ]


def test_its_answer_is_found(cloud, put_old):
    old = put_old()
    found = cloud.find_answer_sync(Question("ada", old.message))
    assert found.interaction_id == "old"


@pytest.mark.parametrize("response", ["", "Short.", LONG])
def test_a_completion_makes_it_one_of_today(cloud, put_old, stored, response):
    old = put_old(response="before")
    changes = {"response": response, "output_tokens": 11}
    changed = cloud.update_interaction_sync("old", changes)
    assert fields_of(changed) == fields_of(old) | changes | {"updated_at": changed.updated_at}
    assert is_of_today(stored())
    assert fields_of(cloud.get_interaction_sync("old")) == fields_of(changed)
    assert ("question" in stored()) is bool(response)


@pytest.mark.parametrize("response", ["", "Short.", LONG])
@pytest.mark.parametrize("at_the_same_time", [True, False])
def test_a_save_makes_it_one_of_today_and_keeps_its_time(
    cloud, put_old, stored, make_interaction, response, at_the_same_time
):
    old = put_old()
    created_at = old.created_at if at_the_same_time else NOW
    new = make_interaction(
        interaction_id="old", message="Another", response=response, created_at=created_at
    )
    cloud.save_interaction_sync(new)
    assert is_of_today(stored())
    found = cloud.get_interaction_sync("old")
    assert fields_of(found) == fields_of(new) | {"created_at": old.created_at}


def test_another_user_cannot_save_over_it(cloud, put_old, make_interaction):
    put_old()
    with pytest.raises(InteractionConflict):
        cloud.save_interaction_sync(make_interaction(interaction_id="old", user_id="bob"))


def test_a_repeated_creation_finds_it(cloud, put_old, make_interaction):
    old = put_old()
    again = make_interaction(interaction_id="old", response=LONG)
    assert cloud.create_interaction_sync(again)[1] is False
    other = make_interaction(interaction_id="old", response="other")
    with pytest.raises(InteractionConflict):
        cloud.create_interaction_sync(other)
    outcomes = cloud.create_interactions_sync([again])
    assert outcomes == [Outcome.UNCHANGED]
    assert fields_of(cloud.get_interaction_sync("old")) == fields_of(old)


def test_one_that_has_expired_is_replaced(cloud, put_old, stored, make_interaction, settings):
    settings.RETENTION_TOTAL_DAYS = 30
    for write in (cloud.save_interaction_sync, cloud.create_interaction_sync):
        put_old(created_at=NOW - timedelta(days=40), user_id="bob")
        assert cloud.get_interaction_sync("old") is None
        write(make_interaction(interaction_id="old"))
        assert is_of_today(stored())
        assert cloud.get_interaction_sync("old").user_id == "ada"


def test_it_is_deleted_one_by_one_by_time_and_by_user(cloud, database, put_old):
    put_old()
    assert cloud.delete_interaction_sync("old")
    old = put_old()
    assert database.remove_expired([old], NOW - timedelta(days=2)) == 0
    assert database.remove_expired([old], old.created_at) == 1
    old = put_old()
    assert database.remove_of_user([old], "bob") == 0
    assert database.remove_of_user([old], "ada") == 1
    assert database.read("old") is None


def test_it_is_archived_and_comes_back(cloud, database, put_old, stored):
    old = put_old()
    assert database.move_to_cold([old], "segment") == 1
    assert database.look("old").segment == "segment"
    assert database.return_from_cold([old], "segment") == 1
    assert fields_of(database.read("old")) == fields_of(old)
    assert is_of_today(stored())


@pytest.mark.parametrize("has_model", [True, False])
def test_an_old_stub_is_a_stub(cloud, database, make_interaction, stored, has_model):
    interaction = make_interaction(interaction_id="old", created_at=NOW - timedelta(days=1))
    stub = to_old_stub(interaction, "segment")
    if not has_model:
        del stub["model_used"]
    database.client.call("PutItem", Item=stub)
    found = database.look("old")
    assert (found.created_at, found.segment) == (interaction.created_at, "segment")
    assert [each.interaction_id for each in database.all_stubs()] == ["old"]
    database.complete_stubs([interaction], "segment")
    assert items.model_of(stored()) == "model-1"
    assert ("v" in stored()) is not has_model
    assert database.drop_stubs(["old"], "segment") == 1


@pytest.mark.django_db(transaction=True)
def test_its_changes_count_as_those_of_today_do(cloud, database, put_old, make_interaction):
    def counted():
        assert database.count_usage(30) is not None
        row = UsageOfModel.objects.get()
        return row.interactions, row.unanswered, row.output_tokens, row.hot, row.cold

    put_old(response="")
    assert counted() == (1, 1, 7, 1, 0)
    cloud.update_interaction_sync("old", {"response": LONG, "output_tokens": 9})
    assert counted() == (1, 0, 9, 1, 0)
    other = put_old(interaction_id="other")
    database.move_to_cold([other], "segment")
    assert counted() == (2, 0, 16, 1, 1)
    stub = to_old_stub(other, "segment")
    del stub["model_used"]
    database.client.call("PutItem", Item=stub)
    database.drop_stubs(["other"], "segment")
    assert counted()[:4] == (2, 0, 16, 1)
    connections.close_all()
