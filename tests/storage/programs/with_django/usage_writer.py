"""A process that writes to a table in all ways, while answers are lost: `URL TABLE SEED`.

Interactions `kept-*`, which are there already, are changed and moved; others come and go.
"""

import random
import sys
from contextlib import suppress
from typing import Any

from botocore.exceptions import ReadTimeoutError
from botocore.httpsession import URLLib3Session

from storage.archive.archive import configured_archive
from storage.dynamodb import mirror
from storage.dynamodb.client import Client
from storage.dynamodb.database import DynamoDBDatabase
from storage.exceptions import StorageError
from storage.large.texts import LargeTexts
from storage.models import ChatInteraction
from storage.models.idempotency import Idempotency

STEPS, IDS = 30, 6
WRITES = ("PutItem", "UpdateItem", "DeleteItem", "TransactWriteItems", "BatchExecuteStatement")


def lose_answers(chance: random.Random) -> None:
    """Some writes take effect, but their answers are lost; the next attempt is answered."""
    send = URLLib3Session.send
    lost: list[bool] = []

    def maybe(session: Any, request: Any) -> Any:
        answer = send(session, request)
        operation = request.headers["X-Amz-Target"].decode().rpartition(".")[2]
        if operation in WRITES and not lost and chance.random() < 0.2:
            lost.append(True)
            raise ReadTimeoutError(endpoint_url=request.url)
        lost.clear()
        return answer

    URLLib3Session.send = maybe


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
            assert self.database.return_from_cold([found], "segment")

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
    lose_answers(random.Random(int(seed)))
    for _ in range(STEPS):
        writer.step()


if __name__ == "__main__":
    main()
