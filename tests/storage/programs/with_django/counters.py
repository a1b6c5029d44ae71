"""Sixteen processes count up one number, each in transactions that read it and then write it.

Arguments: the transaction mode, and how many transactions each process makes. Prints what
became of them as JSON. The processes are forked before anything is connected.
"""

import json
import os
import sys
import time

from django.db import OperationalError, connection, connections, transaction

from storage.models import ChatInteraction
from tests.storage.programs.with_django.tables import create_tables, disconnect, interaction

PROCESSES = 16


def count(transactions: int) -> dict[str, int]:
    done = {"committed": 0, "locked": 0}
    for _ in range(transactions):
        try:
            with transaction.atomic():
                row = ChatInteraction.objects.get(pk="counter")
                row.input_tokens += 1
                row.save()
            done["committed"] += 1
        except OperationalError as error:
            if "database is locked" not in str(error):
                raise
            done["locked"] += 1
        connection.close()  # as at the end of a request
    return done


def child(transactions: int, start: int, result: int) -> None:
    os.read(start, 1)  # ends when the parent closes its side: all begin at once
    os.write(result, json.dumps(count(transactions)).encode())
    os._exit(0)


def main() -> None:
    mode, transactions = sys.argv[1], int(sys.argv[2])
    connections.settings["default"]["OPTIONS"]["transaction_mode"] = mode
    create_tables()
    interaction("counter").save()
    disconnect()
    start, go = os.pipe()
    results = []
    for _ in range(PROCESSES):
        result, write = os.pipe()
        if os.fork() == 0:
            os.close(go)
            child(transactions, start, write)
        os.close(write)
        results.append(result)
    started = time.monotonic()
    os.close(go)
    done = []
    for result in results:
        with os.fdopen(result) as file:
            done.append(json.loads(file.read()))
    for _ in results:
        _, status = os.wait()
        assert status == 0
    counter = ChatInteraction.objects.get(pk="counter").input_tokens
    print(
        json.dumps(
            {
                "processes": len(done),
                "committed": sum(each["committed"] for each in done),
                "locked": sum(each["locked"] for each in done),
                "counter": counter,
                "seconds": time.monotonic() - started,
            }
        )
    )


if __name__ == "__main__":
    main()
