"""A write of large texts whose answer is lost, while others write: no row names what is gone."""

import contextlib

import pytest
from botocore.exceptions import ReadTimeoutError
from django.core.cache.backends.dummy import DummyCache

from storage.archive import names
from storage.dynamodb.curl import Headers
from storage.dynamodb.transport import DirectClient
from storage.exceptions import BatchUnfinished, StorageError
from storage.records import texts
from storage.records.pages import PageQuery
from tests.clouds import make_storage
from tests.contract.calls import at

SEGMENT = names.new_segment(at().date())
WRITES = ("PutItem", "UpdateItem", "BatchExecuteStatement", "TransactWriteItems")

FIRST, SECOND = "first " * 30, "second " * 30


@pytest.fixture
def cloud(dynamodb_model, monkeypatch):
    monkeypatch.setattr(texts, "INLINE_MAX_BYTES", 100)
    return make_storage(dynamodb_model, DummyCache("", {}))


@pytest.fixture
def row(make_interaction):
    def make(message=FIRST, interaction_id="i"):
        return make_interaction(interaction_id=interaction_id, message=message)

    return make


def timeout(reply):
    raise ReadTimeoutError(endpoint_url="http://table")


def failure(reply):
    return reply._replace(status_code=500, headers=Headers(), content=b"{}")


def half(reply):
    return reply._replace(content=reply.content[:-1])


def lose_an_answer(monkeypatch, lose, meanwhile):
    """The next write is done, and its answer does not come; somebody else does something then."""
    post = DirectClient._post
    left = [meanwhile]

    def lost(client, operation, *arguments):
        reply = post(client, operation, *arguments)
        if operation in WRITES and left:
            left.pop()()
            return lose(reply)
        return reply

    monkeypatch.setattr(DirectClient, "_post", lost)


def replaced(cloud, row):
    cloud.save_interaction_sync(row(SECOND))


def deleted(cloud, row):
    cloud.delete_interaction_sync("i")


def completed(cloud, row):
    cloud.update_interaction_sync("i", {"output_tokens": 99})


MEANWHILE = [replaced, deleted, completed]
ROWS = {
    "save": lambda cloud, row: cloud.save_interaction_sync(row()),
    "creation": lambda cloud, row: cloud.create_interaction_sync(row()),
    "batch": lambda cloud, row: cloud.create_interactions_sync([row(), row("small", "j")]),
    "update": lambda cloud, row: cloud.update_interaction_sync("i", {"response": SECOND}),
    "restore": lambda cloud, row: cloud.return_from_cold([cloud.cold], SEGMENT),
}


@pytest.mark.parametrize("lose", [timeout, failure, half])
@pytest.mark.parametrize("meanwhile", MEANWHILE)
@pytest.mark.parametrize("write", ROWS)
def test_what_is_stored_afterwards_can_be_read(cloud, row, monkeypatch, write, meanwhile, lose):
    if write == "update":
        cloud.save_interaction_sync(row())
    if write == "restore":
        cloud.save_interaction_sync(row())
        cloud.cold = cloud.get_interaction_sync("i")
        assert cloud.move_to_cold([cloud.cold], SEGMENT) == 1
    lose_an_answer(monkeypatch, lose, lambda: meanwhile(cloud, row))
    with contextlib.suppress(StorageError):
        ROWS[write](cloud, row)
    found = cloud.list_interactions_sync(PageQuery()).interactions
    assert all(each.message in (FIRST, SECOND, "small") for each in found)


def test_a_statement_that_may_have_taken_effect_is_not_sent_again(cloud, row, monkeypatch):
    request, sent = cloud.database.client.request, []

    def fail(operation, parameters):
        answer = request(operation, parameters)
        if operation == "BatchExecuteStatement":
            sent.append(operation)
            answer["Responses"] = [{"Error": {"Code": "InternalServerError"}}]
            deleted(cloud, row)
        return answer

    monkeypatch.setattr(cloud.database.client, "request", fail)
    with pytest.raises(BatchUnfinished):
        cloud.create_interactions_sync([row()])
    assert len(sent) == 1
    assert cloud.list_interactions_sync(PageQuery()).interactions == []
