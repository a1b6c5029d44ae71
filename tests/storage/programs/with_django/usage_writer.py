"""A process that writes to a table in all ways, while answers are lost: `URL TABLE SEED`.

It prints how many were. Interactions `kept-*`, which are there already, are changed and moved;
others come and go.
"""

import random
import sys
from contextlib import suppress
from typing import Any

from botocore.exceptions import ReadTimeoutError

from storage.archive.archive import configured_archive
from storage.dynamodb import mirror
from storage.dynamodb.client import Client
from storage.dynamodb.database import DynamoDBDatabase
from storage.dynamodb.transport import DirectClient
from storage.exceptions import StorageError
from storage.large.texts import LargeTexts
from storage.models import ChatInteraction
from storage.models.idempotency import Idempotency

STEPS, IDS = 30, 6
WRITES = ("PutItem", "UpdateItem", "DeleteItem", "TransactWriteItems", "BatchExecuteStatement")


def lose_answers(chance: random.Random) -> list[str]:
    """Some writes take effect, but their answers are lost; the next attempt is answered.

    Gives the operations whose answers are, as they are.
    """
    post = DirectClient._post
    lost: list[str] = []
    is_again: list[bool] = []

    def maybe(client: Any, operation: str, *arguments: Any) -> Any:
        answer = post(client, operation, *arguments)
        if operation in WRITES and not is_again and chance.random() < 0.2:
            is_again.append(True)
            lost.append(operation)
            raise ReadTimeoutError(endpoint_url="")
        is_again.clear()
        return answer

    setattr(DirectClient, "_post", maybe)  # noqa: B010
    return lost


class Writer:
    """Takes steps by chance."""

    def __init__(self, database: DynamoDBDatabase, seed: int) -> None:
        self.database, self.chance = database, random.Random(seed)

    def step(self) -> None:
        number = self.chance.randrange(IDS)
        with suppress(StorageError):  # the other process has come between, or archived it
            self.chance.choice([self.save, self.update, self.move, self.create, self.many])(number)

    def save(self, number: int) -> None:
        found = self.database.read(f"kept-{number}")
        if found is not None:
            found.output_tokens = self.chance.randrange(100)
            found.response = self.chance.choice(["", "r"])
            self.database.save(found)

    def update(self, number: int) -> None:
        changes = {"response": "r", "output_tokens": self.chance.randrange(100)}
        self.database.update(f"kept-{number}", changes, None, lambda _: None)

    def move(self, number: int) -> None:
        found = self.database.read(f"kept-{number}")
        if found is not None and self.database.move_to_cold([found], "segment"):
            # If its answer is lost and the other process then changes the row, it counts none.
            self.database.return_from_cold([found], "segment")

    def create(self, number: int) -> None:
        name = f"gone-{number}"
        self.database.create(_new(name), self.chance.choice([None, _idempotency(self.chance)]))
        if self.chance.random() < 0.7:
            self.database.delete(name, None)

    def many(self, number: int) -> None:
        self.database.create_many([_new(f"gone-{number}"), _new(f"many-{self.chance.random()}")])


def _new(name: str) -> ChatInteraction:
    fields = {"message": "m", "response": "r", "input_tokens": 5, "output_tokens": 7}
    return ChatInteraction(interaction_id=name, user_id="bob", model_used="gone", **fields)


def _idempotency(chance: random.Random) -> Idempotency:
    return Idempotency(f"{chance.getrandbits(256):064x}", "request")


def main() -> None:
    url, table, seed = sys.argv[1:]
    client = Client(mirror.bound(table, "eu-central-1", url, 2), 2)
    writer = Writer(DynamoDBDatabase(client, 2, LargeTexts(configured_archive().files)), int(seed))
    lost = lose_answers(random.Random(int(seed)))
    for _ in range(STEPS):
        writer.step()
    print(len(lost))


if __name__ == "__main__":
    main()
