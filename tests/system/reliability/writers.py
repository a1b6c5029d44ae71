"""Many processes that write one database file at once, through the storage interface.

    python -m tests.system.reliability.writers PROCESSES SECONDS

Prints as JSON what the interactions must be, by what was acknowledged; which errors there
were; how many writes; and the most bytes that the log has had.
"""

import json
import multiprocessing
import random
import sys
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import django

import config  # noqa: F401  (before Django: it puts pysqlite3 in the place of sqlite3)

django.setup()

from django.db import connection  # noqa: E402

from storage import get_storage  # noqa: E402
from storage.exceptions import StorageError  # noqa: E402
from storage.models import ChatInteraction  # noqa: E402
from storage.models.idempotency import Idempotency  # noqa: E402
from storage.startup.schema import migrate_under_lock  # noqa: E402

BATCH_SIZE = 5
LOOK_SECONDS = 0.02


class Writer:
    """One process's interactions, which it alone writes. `expected` has their responses by id."""

    def __init__(self, number: int) -> None:
        self._random = random.Random(number)
        self._storage = get_storage()
        self.expected = {}

    def write(self) -> None:
        """One write of any kind, taken down once it is acknowledged."""
        writes = [self.save, self.create, self.create_with_key, self.create_many]
        if self.expected:
            writes += [self.replace, self.update, self.delete, self.delete]
        self._random.choice(writes)()

    def save(self, interaction_id: str | None = None) -> None:
        interaction = self._new(interaction_id)
        self._storage.save_interaction_sync(interaction)
        self.expected[interaction.interaction_id] = interaction.response

    def replace(self) -> None:
        self.save(self._any())

    def create(self, idempotency: Any = None) -> None:
        interaction, _ = self._storage.create_interaction_sync(self._new(), idempotency)
        self.expected[interaction.interaction_id] = interaction.response

    def create_with_key(self) -> None:
        self.create(Idempotency(key=str(uuid4()), request=""))

    def create_many(self) -> None:
        interactions = [self._new() for _ in range(BATCH_SIZE)]
        self._storage.create_interactions_sync(interactions)
        self.expected |= {each.interaction_id: each.response for each in interactions}

    def update(self) -> None:
        interaction_id, response = self._any(), self._text()
        self._storage.update_interaction_sync(interaction_id, {"response": response})
        self.expected[interaction_id] = response

    def delete(self) -> None:
        interaction_id = self._any()
        assert self._storage.delete_interaction_sync(interaction_id)
        del self.expected[interaction_id]

    def _any(self) -> Any:
        return self._random.choice(list(self.expected))

    def _new(self, interaction_id: str | None = None) -> Any:
        return ChatInteraction(
            **({"interaction_id": interaction_id} if interaction_id else {}),
            user_id=str(id(self)),
            message="m",
            response=self._text(),
            model_used="model-1",
        )

    def _text(self) -> Any:
        return str(uuid4()) * self._random.randrange(1, 100)


def write(number: int, seconds: float) -> dict[str, Any]:
    """What one process has done."""
    writer, errors, writes = Writer(number), [], 0
    end = time.monotonic() + seconds
    while time.monotonic() < end or not writes:
        try:
            writer.write()
            writes += 1
        except StorageError as error:
            errors.append(f"{error!r} from {error.__cause__!r}")
        connection.close()  # as at the end of a request
    return {"expected": writer.expected, "errors": errors, "writes": writes}


def main() -> None:
    processes, seconds = int(sys.argv[1]), float(sys.argv[2])
    migrate_under_lock()
    log = Path(f"{connection.settings_dict['NAME']}-wal")
    highest = 0
    with multiprocessing.get_context("fork").Pool(processes) as pool:
        running = pool.starmap_async(write, [(n, seconds) for n in range(processes)], chunksize=1)
        while not running.ready():
            running.wait(LOOK_SECONDS)
            highest = max(highest, log.stat().st_size if log.exists() else 0)
        done = running.get()
    result = {
        "expected": {name: text for each in done for name, text in each["expected"].items()},
        "errors": [error for each in done for error in each["errors"]],
        "writes": [each["writes"] for each in done],
        "log": highest,
    }
    json.dump(result, sys.stdout)


if __name__ == "__main__":
    main()
