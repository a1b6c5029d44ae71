"""What moto lacks: INSERT statements with parameters, and conditions that hold among threads.

Its PartiQL parser takes a parameter within an item for a name and gives up. And within one
process it checks a condition and writes in two steps, so that of two threads both can win.
DynamoDB and ministack need neither of this.
"""

import re
import threading
from typing import Any

import pytest
from moto.core.botocore_stubber import BotocoreStubber
from moto.dynamodb.exceptions import ConditionalCheckFailed, MockValidationException
from moto.dynamodb.models import DynamoDBBackend


def batch_execute_statement(backend: Any, statements: Any) -> list[Any]:
    """In the place of moto's: conditional puts for the one statement that the project uses."""
    return [insert(backend, each["Statement"], each["Parameters"]) for each in statements]


def insert(backend: Any, statement: Any, parameters: Any) -> dict[str, Any]:
    table = re.match(r'INSERT INTO "([^"]+)" VALUE \{', statement)[1]
    names = re.findall(r"'(\w+)': \?", statement)
    item = dict(zip(names, parameters, strict=True))
    try:
        backend.put_item(table, item, condition_expression="attribute_not_exists(interaction_id)")
    except ConditionalCheckFailed:
        return {"Error": {"Code": "DuplicateItem", "Message": "Duplicate primary key exists"}}
    except MockValidationException as error:
        return {"Error": {"Code": "ValidationError", "Message": str(error)}}
    return {"TableName": table}


def install(monkeypatch: pytest.MonkeyPatch) -> None:
    answer, turn = BotocoreStubber.__call__, threading.Lock()

    def answer_one_by_one(stubber: Any, *args: Any, **kwargs: Any) -> Any:
        with turn:
            return answer(stubber, *args, **kwargs)

    monkeypatch.setattr(BotocoreStubber, "__call__", answer_one_by_one)
    monkeypatch.setattr(DynamoDBBackend, "batch_execute_statement", batch_execute_statement)
