"""ministack, with the changes in its streams that DynamoDB would have: run this in its place.

It runs in an environment without the project's libraries (`tests.environments`).
ministack 1.5.33 leaves out of a table's stream what a PartiQL INSERT writes, and what the TTL
deletes (tests delete that themselves). Its own HTTP server takes twice the CPU of `asgi_server`.
"""

import os
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

if __name__ == "__main__":
    asgi_server.serve(app, os.environ["BIND_HOST"], int(os.environ["GATEWAY_PORT"]))
