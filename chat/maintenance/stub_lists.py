"""All stubs of a storage: what it has archived, whatever the archive says."""

from collections.abc import Iterator
from typing import Any

from storage.dynamodb.cold import CloudTiers
from storage.dynamodb.expressions import names
from storage.dynamodb.items import to_stub
from storage.interface import Storage
from storage.records.stubs import Stub
from storage.sql_errors import translated
from storage.sqlite.cold import LocalTiers

PAGE = 500


def all_stubs(storage: Storage) -> Iterator[Stub]:
    """The stubs in the database, in any order; also those that have expired.

    On DynamoDB it reads the whole table, in answers of 1 MB (dynamodb:Scan): stubs are in no index.
    """
    if isinstance(storage, CloudTiers):
        return _in_table(storage)
    assert isinstance(storage, LocalTiers)
    return _in_database(storage)


def _in_database(storage: LocalTiers) -> Iterator[Stub]:
    rows = storage._stub_rows.order_by("pk")
    last = ""
    while found := _page(rows.filter(pk__gt=last)):
        yield from found
        last = found[-1].interaction_id


def _page(rows: Any) -> list[Stub]:
    with translated:
        return [Stub(row.interaction_id, row.created_at, row.segment) for row in rows[:PAGE]]


def _in_table(storage: CloudTiers) -> Iterator[Stub]:
    is_stub = "attribute_exists(#archived_in)"
    columns = "#interaction_id, #created_at, #archived_in"
    parameters: dict[str, Any] = {
        "FilterExpression": is_stub,
        "ProjectionExpression": columns,
        "ExpressionAttributeNames": names(columns),
        "ConsistentRead": True,
    }
    while True:
        answer = storage._client.call("Scan", **parameters)
        yield from (stub for item in answer["Items"] if (stub := to_stub(item)))
        if "LastEvaluatedKey" not in answer:
            return
        parameters["ExclusiveStartKey"] = answer["LastEvaluatedKey"]
