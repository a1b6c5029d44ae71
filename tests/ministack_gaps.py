"""ministack, with what DynamoDB tells and it does not: run this in its place.

It runs in an environment without the project's libraries (`tests.environments`).
ministack 1.5.33 leaves out of a table's stream what a PartiQL INSERT writes, and what the TTL
deletes (tests delete that themselves). Of a table that was restored it does not tell from what.
Its own HTTP server takes twice the CPU of `asgi_server`. It takes the grammar of each statement and
expression anew, which was half of its CPU: here it does so once.
"""

import functools
import os
import time
from typing import Any

from ministack.app import app
from ministack.services import dynamodb, dynamodb_streams, s3

from tests import asgi_server

SERVICES = (dynamodb, dynamodb_streams, s3)
"""Imported now. At the first call it would take longer than clients wait on a busy machine."""

insert = dynamodb._partiql_insert


def insert_and_tell(table: Any, parsed: Any) -> Any:
    answer = insert(table, parsed)
    if answer[0] == 200:
        dynamodb._emit_stream_event(table["TableName"], "INSERT", None, parsed["item"])
    return answer


dynamodb._partiql_insert = insert_and_tell

restore, describe = dynamodb._restore_table_to_point_in_time, dynamodb._table_description


def restore_and_note(data: Any) -> Any:
    answer = restore(data)
    if answer[0] == 200:
        dynamodb._tables[data["TargetTableName"]]["RestoreSummary"] = {
            "SourceTableArn": dynamodb._tables[data["SourceTableName"]]["TableArn"],
            "RestoreDateTime": data.get("RestoreDateTime", time.time()),
            "RestoreInProgress": False,
        }
    return answer


def describe_with_origin(name: Any) -> Any:
    found = describe(name)
    summary = dynamodb._tables[name].get("RestoreSummary")
    return found | {"RestoreSummary": summary} if summary else found


dynamodb._restore_table_to_point_in_time = restore_and_note
dynamodb._table_description = describe_with_origin

for name in ("_tokenize", "_condition_syntax_error"):  # what both say depends on a text alone
    setattr(dynamodb, name, functools.lru_cache(maxsize=10_000)(getattr(dynamodb, name)))

parse = dynamodb.parse_partiql_statement


@functools.lru_cache(maxsize=10_000)
def table_and_names(statement: str, values: int) -> Any:
    """Those of an INSERT whose values are the parameters in their order; of all else, None."""
    given = [{"S": ""} for _ in range(values)]
    try:
        parsed = parse(statement, given)
    except ValueError:
        return None
    item = parsed.get("item")
    if parsed["op"] != "INSERT" or list(map(id, item.values())) != list(map(id, given)):
        return None
    return parsed["table"], tuple(item)


def parse_once(statement: str, parameters: Any) -> Any:
    values = parameters or []
    if (found := table_and_names(statement, len(values))) is None:
        return parse(statement, parameters)
    table, names = found
    item = dict(zip(names, values, strict=True))
    return {"op": "INSERT", "table": table, "index": None, "item": item}


dynamodb.parse_partiql_statement = parse_once

if __name__ == "__main__":
    asgi_server.serve(app, os.environ["BIND_HOST"], int(os.environ["GATEWAY_PORT"]))
