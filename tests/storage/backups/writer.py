"""One of several processes that write a database without pause.

    python -m tests.storage.backups.writer NUMBER ACKNOWLEDGED

Saves interactions of its own again and again, each time with a higher number in `output_tokens`.
Once a save is acknowledged, a line with id and number goes to the file ACKNOWLEDGED.
"""

import itertools
import random
import sys
from pathlib import Path
from typing import Any

import django

import config  # noqa: F401  (before Django: it puts pysqlite3 in the place of sqlite3)

django.setup()

from django.db import connection  # noqa: E402

from storage import get_storage  # noqa: E402
from storage.models import ChatInteraction  # noqa: E402

ROWS = 200
"""Different interactions of one writer."""

BATCH = 5


def interaction(writer: Any, row: Any, number: int) -> Any:
    return ChatInteraction(
        interaction_id=f"{writer}-{row}",
        user_id=f"user-{writer}",
        message="m" * random.randrange(1, 2000),
        response="An answer.",
        model_used="model-1",
        output_tokens=number,
    )


def main() -> None:
    writer, storage = int(sys.argv[1]), get_storage()
    with Path(sys.argv[2]).open("a", buffering=1) as acknowledged:
        for number in itertools.count():
            row = random.randrange(ROWS)
            storage.save_interaction_sync(interaction(writer, row, number))
            acknowledged.write(f"{writer}-{row} {number}\n")
            if number % 10 == 9:  # in one transaction
                new = [interaction(writer, f"{number}.{n}", number) for n in range(BATCH)]
                storage.create_interactions_sync(new)
                acknowledged.writelines(f"{each.interaction_id} {number}\n" for each in new)
                for each in new:
                    storage.delete_interaction_sync(each.interaction_id)
                    acknowledged.write(f"{each.interaction_id} deleted\n")
            connection.close()  # as at the end of a request


if __name__ == "__main__":
    main()
