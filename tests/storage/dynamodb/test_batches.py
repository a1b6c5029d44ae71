"""A batch is written in several requests at the same time, and whatever is not written is named."""

import base64
import json
import random
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from storage.archive.archive import configured_archive
from storage.dynamodb import batches, items
from storage.dynamodb.client import NoTurn
from storage.dynamodb.database import DynamoDBDatabase
from storage.exceptions import BatchUnfinished, StorageUnavailable
from storage.large.texts import LargeTexts
from storage.models import ChatInteraction
from storage.records.outcomes import Outcome

SECONDS = 60


def objects():
    """No text here is large."""
    return LargeTexts(configured_archive().files)


class Table:
    """A client whose table is a dictionary. `meet` is called within each request of a batch."""

    table = "table"

    def __init__(self, meet=lambda part: None):
        self.written = []
        self.at_once = self.most_at_once = 0
        self._lock = threading.Lock()
        self._meet = meet

    def request(self, operation, parameters):
        assert operation == "BatchExecuteStatement"
        part = [statement["Parameters"][0]["S"] for statement in parameters["Statements"]]
        with self._lock:
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            self._meet(part)
        finally:
            with self._lock:
                self.at_once -= 1
        self.written += part
        return {"Responses": [{}] * len(part)}


def rows(count, **fields):
    defaults = {"user_id": "ada", "message": "Hi", "response": "", "model_used": "m"}
    return [
        ChatInteraction(interaction_id=f"i{number:04}", **(defaults | fields))
        for number in range(count)
    ]


def ids(interactions):
    return [interaction.interaction_id for interaction in interactions]


def test_four_requests_are_under_way_at_the_same_time():
    barrier = threading.Barrier(4)
    table = Table(lambda part: barrier.wait(SECONDS))
    outcomes = DynamoDBDatabase(table, 6, objects()).create_many(rows(100))
    assert outcomes == [Outcome.CREATED] * 100
    assert sorted(table.written) == ids(rows(100))


def test_batches_leave_two_calls_for_others():
    wait_a_little = threading.Event().wait
    table = Table(lambda part: wait_a_little(0.01))
    database = DynamoDBDatabase(table, 6, objects())
    with ThreadPoolExecutor(5) as callers:
        list(callers.map(database.create_many, [rows(200)] * 5))
    assert table.most_at_once == 4


def test_one_request_fails_and_what_is_not_known_to_be_written_is_named():
    first_four = threading.Barrier(4)

    def meet(part):
        if part[0] < "i0100":
            first_four.wait(SECONDS)
        if part[0] == "i0025":
            raise StorageUnavailable("DynamoDB did not answer.")

    table = Table(meet)
    with pytest.raises(BatchUnfinished) as raised:
        DynamoDBDatabase(table, 6, objects()).create_many(rows(1000))
    named = raised.value.interaction_ids
    assert set(named) >= {f"i{number:04}" for number in range(25, 50)}
    assert sorted([*named, *table.written]) == ids(rows(1000))
    assert table.at_once == 0


def test_a_batch_under_way_waits_for_its_turns():
    refused = set()

    def meet(part):
        if part[0] != "i0000" and part[0] not in refused:
            refused.add(part[0])
            raise NoTurn

    table = Table(meet)
    outcomes = DynamoDBDatabase(table, 6, objects()).create_many(rows(100))
    assert outcomes == [Outcome.CREATED] * 100
    assert sorted(table.written) == ids(rows(100))
    assert len(refused) == 3


def test_a_first_part_waits_too_once_another_was_written():
    written = threading.Event()
    refused = []

    def meet(part):
        if part[0] == "i0000" and not refused:
            written.wait(SECONDS)
            refused.append(part)
            raise NoTurn
        written.set()

    table = Table(meet)
    assert DynamoDBDatabase(table, 6, objects()).create_many(rows(100)) == [Outcome.CREATED] * 100
    assert sorted(table.written) == ids(rows(100))


def test_a_batch_that_cannot_even_begin_is_refused_at_once(monkeypatch):
    monkeypatch.setattr("storage.dynamodb.pauses.SECONDS", SECONDS * 1000)

    def meet(part):
        raise NoTurn

    table = Table(meet)
    with pytest.raises(BatchUnfinished) as raised:
        DynamoDBDatabase(table, 6, objects()).create_many(rows(100))
    assert sorted(raised.value.interaction_ids) == ids(rows(100))
    assert table.written == []


def test_a_batch_that_is_too_slow_names_all_of_its_rest(monkeypatch):
    monkeypatch.setattr("storage.dynamodb.pauses.SECONDS", -1)
    with pytest.raises(BatchUnfinished) as raised:
        DynamoDBDatabase(Table(), 6, objects()).create_many(rows(60))
    assert sorted(raised.value.interaction_ids) == ids(rows(60))


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize(("first", "last"), [(32, 126), (0xC0, 0x24F), (0x1F600, 0x1F64F)])
def test_no_request_is_too_large(monkeypatch, first, last, plain):
    if plain:
        monkeypatch.setattr("storage.dynamodb.texts.WORTH_TRYING", 1_000_000)
    chosen = random.Random(1).choices(range(first, last), k=90_000)
    message = "".join(map(chr, chosen))
    made = [items.to_item(row, "v") for row in rows(30, message=message, response=message[:500])]
    parts = list(batches._parts_to_write(made))
    assert [item for part in parts for item in part] == made
    assert len(parts) > 1
    for part in parts:
        size = len(json.dumps(part, default=lambda packed: base64.b64encode(packed).decode()))
        assert size <= batches.WRITE_BYTES + 25 * 1024 or len(part) == 1
