"""moto's server, with what moto lacks (`moto_gaps`): run this in its place, as a program.

Calls that do not go through botocore reach it, unlike moto in the tests' own process.
"""

import sys
import threading
from typing import Any

from moto.dynamodb.models import DynamoDBBackend
from moto.dynamodb.responses import DynamoHandler
from moto.server import main

from tests.contract.moto_gaps import batch_execute_statement

answer, turn = DynamoHandler.call_action, threading.Lock()


def answer_one_by_one(handler: Any) -> Any:
    with turn:
        return answer(handler)


if __name__ == "__main__":
    setattr(DynamoDBBackend, "batch_execute_statement", batch_execute_statement)  # noqa: B010
    setattr(DynamoHandler, "call_action", answer_one_by_one)  # noqa: B010
    main(sys.argv[1:])
