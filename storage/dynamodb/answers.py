"""Finds the answers to a question, newest first, through the index of answers.

Its range key begins with a hash of the model: `model#position`. So the newest answer by one model
takes one query, however many answers there are. The newest by any model takes a query per model
that has answered this message, and one more. A second index, without the model, would spare these
queries but cost a write unit per saved answer.
"""

import heapq
from collections.abc import Iterator
from typing import Any

from storage import expiry
from storage.dynamodb import items
from storage.dynamodb.client import Client
from storage.dynamodb.expressions import names
from storage.dynamodb.lists import Entry
from storage.dynamodb.mirror import Answers
from storage.dynamodb.pauses import Pauses
from storage.exceptions import StorageUnavailable
from storage.records.json import format_time
from storage.records.questions import Question

AT_ONCE = 4
"""Entries per response. One is wanted, but the newest may have been changed or deleted."""


def entries(client: Client, question: Question, pauses: Pauses) -> Iterator[Entry]:
    """Yields the entries of the answers, newest first. Queries DynamoDB only as they are taken."""
    asked = items.question(question.user_id, question.message)
    if question.model_used is not None:
        model = items.model_hash(question.model_used)
        yield from _older(client, asked, _latest(model), pauses)
        return
    yield from heapq.merge(
        *(
            _from(client, asked, newest, pauses)
            for newest in _newest_of_each_model(client, asked, pauses)
        ),
        reverse=True,
    )


def _from(client: Client, asked: str, newest: items.Item, pauses: Pauses) -> Iterator[Entry]:
    """Yields the answers of a model from its newest one on, unless that is of the future."""
    answer = newest["answer"]["S"]
    latest = _latest(answer.partition("#")[0])
    if answer <= latest:
        yield _entry(newest)
    yield from _older(client, asked, min(answer, latest), pauses)


def _latest(model: str) -> str:
    """What is greater is dated in the future: it would be the newest until that time comes."""
    return f"{model}#{format_time(expiry.latest())}$"  # '$' sorts directly after '#'


def _newest_of_each_model(client: Client, asked: str, pauses: Pauses) -> Iterator[items.Item]:
    condition, values = "#question = :question", {":question": {"S": asked}}
    while found := _query(client, condition, values, pauses, Limit=1)["Items"]:
        yield found[0]
        model = found[0]["answer"]["S"].partition("#")[0]
        condition = "#question = :question AND #answer < :before"
        values[":before"] = {"S": f"{model}#"}


def _older(client: Client, asked: str, before: str, pauses: Pauses) -> Iterator[Entry]:
    """Yields unexpired answers by a model, older than `before` (`model#position`)."""
    model = before.partition("#")[0]
    condition = "#question = :question AND #answer BETWEEN :oldest AND :before"
    values = {
        ":question": {"S": asked},
        ":oldest": {"S": f"{model}#{items.cutoff()}"},
        ":before": {"S": before},
    }
    if before < values[":oldest"]["S"]:
        return
    start: dict[str, Any] = {}
    while True:
        found = _query(client, condition, values, pauses, Limit=AT_ONCE, **start)
        for item in found["Items"]:
            if item["answer"]["S"] != before:  # BETWEEN includes it
                yield _entry(item)
        if "LastEvaluatedKey" not in found:
            return
        start = {"ExclusiveStartKey": found["LastEvaluatedKey"]}


def _query(
    client: Client, condition: str, values: items.Item, pauses: Pauses, **parameters: Any
) -> dict[str, Any]:
    if pauses.over():
        raise StorageUnavailable("DynamoDB was too slow to find an answer.")
    return client.call(
        "Query",
        IndexName=Answers.Meta.index_name,
        KeyConditionExpression=condition,
        ExpressionAttributeNames=names(condition),
        ExpressionAttributeValues=values,
        ScanIndexForward=False,
        **parameters,
    )


def _entry(item: items.Item) -> Entry:
    return Entry(item["answer"]["S"].partition("#")[2], item["interaction_id"]["S"])
