"""An index that lags, as DynamoDB's do: lists may miss what is new, and never show what is not."""

import threading

import pytest

from storage.dynamodb import batches, shards
from storage.dynamodb.client import Client
from storage.records.pages import PageQuery, Slice
from tests.contract.calls import SynchronousCalls, at, everyones_pages, ids, rows_of, user_pages
from tests.system.faults.operations import new

pytestmark = pytest.mark.usefixtures("clock")  # no read runs out of time on a busy machine

CHANGES = 120
"""Rows that are deleted and made again beside readers."""


class LaggingClient(Client):
    """Its indexes say what they said when `freeze` was called, until `catch_up`.

    With `keeps`, they say what is there now besides: new entries have come, old ones not gone.
    """

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self._frozen = None
        self.keeps = False

    def freeze(self):
        """From now on no write reaches the indexes."""
        self._frozen = self._everything()

    def catch_up(self):
        self._frozen = None

    def call(self, operation, **parameters):
        if operation != "Query" or self._frozen is None:
            return super().call(operation, **parameters)
        return self._query(parameters)

    def _everything(self):
        """All entries of both indexes: their keys are attributes of the item."""
        found = super().call("Scan", ConsistentRead=True)["Items"]
        return [item for item in found if "position" in item]

    def entries(self, hash_key):
        """Those of an index. One entry has the same keys, of the index and of the table."""
        entries = [*self._frozen, *(self._everything() if self.keeps else [])]
        keys = ("interaction_id", hash_key, "position")
        return {tuple(entry[key]["S"] for key in keys): entry for entry in entries}.values()

    def _query(self, parameters):
        values = parameters["ExpressionAttributeValues"]
        hash_key = {"of_user": "user_id", "newest": "shard"}[parameters["IndexName"]]
        newest = values.get(":newest", {"S": "\U0010ffff"})["S"]
        entries = sorted(
            (
                item
                for item in self.entries(hash_key)
                if item[hash_key] == values[f":{hash_key}"]
                and values[":oldest"]["S"] <= item["position"]["S"] <= newest
            ),
            key=lambda item: item["position"]["S"],
            reverse=True,
        )
        if start := parameters.get("ExclusiveStartKey"):
            entries = [e for e in entries if e["position"]["S"] < start["position"]["S"]]
        shown = entries[: parameters["Limit"]]
        answer = {"Items": shown}
        if len(entries) > len(shown):
            answer["LastEvaluatedKey"] = shown[-1]
        return answer


@pytest.fixture
def lagging(behind, dynamodb_model):
    """A store with ten interactions of ada's, whose index sees nothing of what comes now."""
    storage = behind(dynamodb_model, LaggingClient)
    for number in range(10):
        storage.save_interaction_sync(new(f"old{number}", created_at=at(seconds=number)))
    storage.database.client.freeze()
    return storage


OLD = [f"old{number}" for number in reversed(range(10))]


def everywhere(storage, **query):
    """The ids on all pages of ada's list and of everyone's."""
    calls = SynchronousCalls(storage)
    of_ada, of_all = user_pages(calls, "ada", **query), everyones_pages(calls, **query)
    for pages in (of_ada, of_all):
        assert all(len(page.interactions) == query["limit"] for page in pages[:-1])
        assert all(page.next_cursor for page in pages[:-1])
    return ids(rows_of(of_ada)), ids(rows_of(of_all))


LIMITS = pytest.mark.parametrize("limit", [1, 3, 10, 11, 50])


def test_the_double_of_the_index_says_what_the_index_says(lagging):
    frozen = everywhere(lagging, limit=3)
    lagging.database.client.catch_up()
    assert frozen == everywhere(lagging, limit=3) == (OLD, OLD)


def test_ones_own_write_is_read_at_once_by_id(lagging):
    lagging.create_interaction_sync(new("mine"))
    assert lagging.get_interaction_sync("mine").message == new().message
    lagging.update_interaction_sync("mine", {"response": "arrived"})
    assert lagging.get_interaction_sync("mine").response == "arrived"
    assert lagging.delete_interaction_sync("mine") is True
    assert lagging.get_interaction_sync("mine") is None


@LIMITS
def test_a_new_row_is_listed_when_the_index_has_caught_up(lagging, limit):
    lagging.create_interaction_sync(new("mine", created_at=at(hours=1)))
    assert everywhere(lagging, limit=limit) == (OLD, OLD)
    lagging.database.client.catch_up()
    assert everywhere(lagging, limit=limit) == (["mine", *OLD],) * 2


@LIMITS
@pytest.mark.parametrize("deleted", [["old9"], ["old4", "old5"], ["old0"], OLD], ids=len)
def test_a_deleted_row_is_never_listed(lagging, limit, deleted):
    for name in deleted:
        lagging.delete_interaction_sync(name)
    left = [name for name in OLD if name not in deleted]
    assert everywhere(lagging, limit=limit) == (left, left)


@LIMITS
def test_a_changed_row_is_listed_as_it_is_now(lagging, limit):
    lagging.update_interaction_sync("old5", {"response": "arrived"})
    calls = SynchronousCalls(lagging)
    for pages in (user_pages(calls, "ada", limit=limit), everyones_pages(calls, limit=limit)):
        listed = {row.interaction_id: row.response for row in rows_of(pages)}
        assert listed["old5"] == "arrived"


@LIMITS
@pytest.mark.parametrize("created_at", [at(seconds=5), at(hours=1)], ids=["same time", "later"])
def test_an_id_that_is_another_users_by_now_is_never_in_the_list_of_the_first(
    lagging, limit, created_at
):
    lagging.delete_interaction_sync("old5")
    lagging.create_interaction_sync(new("old5", user_id="bob", created_at=created_at))
    of_ada, of_all = everywhere(lagging, limit=limit)
    assert "old5" not in of_ada
    assert len(of_all) == len(set(of_all))
    lagging.database.client.catch_up()
    of_ada, of_all = everywhere(lagging, limit=limit)
    assert "old5" not in of_ada
    assert of_all.count("old5") == 1


@LIMITS
def test_an_id_that_was_made_again_at_another_time_is_listed_once_at_most(lagging, limit):
    lagging.delete_interaction_sync("old5")
    lagging.create_interaction_sync(new("old5", created_at=at(hours=1)))
    without = [name for name in OLD if name != "old5"]
    assert everywhere(lagging, limit=limit) == (without, without)
    lagging.database.client.catch_up()
    assert everywhere(lagging, limit=limit) == (["old5", *without],) * 2


@LIMITS
@pytest.mark.parametrize("owner", ["ada", "bob"])
def test_an_id_that_an_index_holds_twice_is_listed_once_and_where_it_is(lagging, limit, owner):
    lagging.delete_interaction_sync("old5")
    lagging.create_interaction_sync(new("old5", user_id=owner, created_at=at(hours=1)))
    lagging.database.client.keeps = True
    without = [name for name in OLD if name != "old5"]
    of_ada, of_all = everywhere(lagging, limit=limit)
    assert of_ada == (["old5", *without] if owner == "ada" else without)
    assert of_all == ["old5", *without]


def test_a_page_whose_rows_are_all_gone_leads_on_to_those_that_are_there(lagging):
    for name in OLD[:9]:
        lagging.delete_interaction_sync(name)
    page = lagging.list_user_interactions_sync("ada", PageQuery(limit=1))
    assert (ids(page.interactions), page.next_cursor) == (["old0"], None)


@pytest.mark.parametrize("limit", [1, 9])
def test_a_row_that_is_gone_behind_a_full_page_leaves_the_last_page_empty(lagging, limit):
    """The index tells that more follows; whether it is still there is found out when it is asked
    for. It is the same where something is deleted between two pages, as on SQLite."""
    for name in OLD[limit:]:
        lagging.delete_interaction_sync(name)
    calls = SynchronousCalls(lagging)
    for pages in (user_pages(calls, "ada", limit=limit), everyones_pages(calls, limit=limit)):
        assert [ids(page.interactions) for page in pages] == [OLD[:limit], []]
        assert [page.next_cursor is None for page in pages] == [False, True]


def test_a_page_reads_no_row_more_than_it_has(lagging, monkeypatch):
    read = []
    request = lagging.database.client.request

    def noted(operation, parameters):
        for keys in parameters.get("RequestItems", {}).values():
            read.append(len(keys["Keys"]))
        return request(operation, parameters)

    monkeypatch.setattr(lagging.database.client, "request", noted)
    first = lagging.list_user_interactions_sync("ada", PageQuery(limit=5))
    last = lagging.list_user_interactions_sync("ada", PageQuery(5, first.next_cursor))
    everyones = lagging.list_interactions_sync(PageQuery(limit=10))
    assert read == [5, 5, 10]
    assert ids([*first.interactions, *last.interactions]) == ids(everyones.interactions) == OLD
    assert (last.next_cursor, everyones.next_cursor) == (None, None)


@LIMITS
def test_a_row_made_again_in_another_shard_is_listed_once(lagging, limit):
    """After a raise, while the index still has the entry in the shard from before it."""
    client = lagging.database.client
    shards.begin_raise(client, 64)
    shards.end_raise(client, 64)
    lagging.database.shards.refresh()
    for number in (4, 5, 9):
        lagging.delete_interaction_sync(f"old{number}")
        lagging.create_interaction_sync(new(f"old{number}", created_at=at(seconds=number)))
    client.keeps = True
    assert len(client.entries("shard")) == len(OLD) + 3
    assert everywhere(lagging, limit=limit) == (OLD, OLD)
    assert ids(lagging.database.newest_interactions(Slice(None, limit, at()))) == OLD[:limit]


def test_pages_are_right_while_the_index_catches_up_between_them(lagging):
    lagging.create_interaction_sync(new("newer", created_at=at(hours=1)))
    lagging.create_interaction_sync(new("between", created_at=at(seconds=2, microseconds=1)))
    first = lagging.list_user_interactions_sync("ada", PageQuery(limit=5))
    lagging.database.client.catch_up()
    second = lagging.list_user_interactions_sync("ada", PageQuery(50, first.next_cursor))
    rest = ["old4", "old3", "between", "old2", "old1", "old0"]
    assert (ids(first.interactions), ids(second.interactions)) == (OLD[:5], rest)


def test_without_the_look_at_the_row_itself_an_index_would_show_another_users(lagging, monkeypatch):
    # The control: rows are taken to be where the index says that they are.
    read = batches.read

    def believing(client, interaction_ids, pauses):
        found = read(client, interaction_ids, pauses)
        entries = {entry["interaction_id"]["S"]: entry for entry in client._frozen}
        believed = ("position", "user_id")
        return {
            name: item | {key: entries[name][key] for key in believed}
            for name, item in found.items()
        }

    monkeypatch.setattr(batches, "read", believing)
    lagging.delete_interaction_sync("old5")
    lagging.create_interaction_sync(new("old5", user_id="bob", message="bob's"))
    of_ada = lagging.get_user_interactions_sync("ada", 10)
    assert "bob's" in {row.message for row in of_ada}


def test_readers_beside_writers_see_no_row_twice_and_none_of_others(
    behind, dynamodb_model, in_threads
):
    """An index that is ten changes late, a writer who deletes and makes again, readers."""
    storage = behind(dynamodb_model, LaggingClient)
    for number in range(12):
        storage.create_interaction_sync(new(f"i{number}", created_at=at(seconds=number)))
    storage.database.client.freeze()
    done = threading.Event()
    failures = []

    def churn():
        for number in range(CHANGES):
            name = f"i{number % 12}"
            owner = ("ada", "bob")[number % 2]
            storage.delete_interaction_sync(name)
            storage.create_interaction_sync(
                new(name, user_id=owner, created_at=at(seconds=number % 12))
            )
            if number % 10 == 0:
                storage.database.client.freeze()

    def read():
        while not done.is_set():
            rows = storage.get_user_interactions_sync("ada", 5)
            names = ids(rows)
            if len(names) != len(set(names)) or {row.user_id for row in rows} - {"ada"}:
                failures.append(rows)

    readers = in_threads(read, read)
    try:
        churn()
    finally:
        done.set()
    for reader in readers:
        reader.join()
    assert failures == []
