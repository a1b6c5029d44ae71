"""CloudStorage beside raw botocore, and its cache beside raw redis-py, in one interleaved run.

    python benchmarks/cloud_calls.py [--rounds 7]

Starts a DynamoDB (ministack) and a Redis (valkey) of its own; `make test` installs them. What is
measured is the client: user and system time of this process, which the servers are not part of.
Raw botocore makes the same requests by hand, with its default settings, and checks no limits;
raw redis-py gets and sets bytes.
"""

import argparse
import os
import random
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from harness import calls
from harness.calls import BATCH, MESSAGE, PAGE, RESPONSE, Figures, Operation, report
from harness.goals import CLOUD_AT_MOST, most, verdicts_of
from harness.ratios import save

import config  # noqa: F401  (before sqlite3)

USERS = 10
REGION = "eu-central-1"
COUNTS = {
    "get by id": 100,
    "page of 50": 20,
    "save": 100,
    "create": 100,
    "batch of 100": 8,
    "cache_get": 1000,
    "cache_set": 1000,
}


def main(words: list[str] | None = None) -> None:
    """Measure and print one table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--rows", type=int, default=2_000)
    parser.add_argument("--share", type=float, default=1, help="of the usual calls in a round")
    parser.add_argument("--json", type=Path, help="also write the ratios there")
    arguments = parser.parse_args(words)
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "AWS_ACCESS_KEY_ID": "benchmark",
        "AWS_SECRET_ACCESS_KEY": "benchmark",
    }
    import django

    django.setup()
    from tests import servers

    dynamodb, valkey = servers.DynamoDB(), servers.start_valkey()
    try:
        figures = measure(dynamodb.url, valkey.port, arguments)
    finally:
        dynamodb.stop()
        valkey.terminate()
    found = calls.ratios(figures, "cloud")
    print(report(figures, "by hand"))
    print(f"\n{verdicts_of(most('cloud', CLOUD_AT_MOST), found)[0]}")
    save(found, arguments.json)


def measure(url: str, port: int, arguments: argparse.Namespace) -> Figures:
    """CPU microseconds (ours, raw) of each operation in each round."""
    from django.core.cache.backends.dummy import DummyCache

    from storage.dynamodb import mirror
    from tests import clouds

    cache = clouds.make_cache(f"redis://127.0.0.1:{port}/0")
    model = mirror.bound("unused", REGION, url, clouds.CONNECTIONS)
    # Interactions past Redis: raw botocore has no cache either.
    storage = clouds.make_storage(model, DummyCache("", {}))
    made = fill(storage, arguments.rows)
    ours = our_operations(storage, made) | our_cache(
        clouds.storage_of(storage.database.client, cache)
    )
    raw = raw_operations(url, storage.database.client.table) | raw_cache(port)
    by_hand = {name: make(made) for name, make in raw.items()}
    counts = calls.share_of(COUNTS, arguments.share)
    return calls.measure(ours, by_hand, counts, arguments.rounds)


def new(number: int = 0) -> Any:
    """An interaction of one of the users."""
    from storage.models import ChatInteraction

    return ChatInteraction(
        user_id=f"user-{(number or random.randrange(USERS)) % USERS}",
        message=MESSAGE,
        response=RESPONSE,
        model_used="model-1",
        input_tokens=40,
        output_tokens=450,
    )


def fill(storage: Any, rows: int) -> list[str]:
    """Store so many interactions; gives their ids."""
    from storage.compat import batched

    made = [new(number) for number in range(rows)]
    for part in batched(made, BATCH):  # a busy machine needs more than a batch's six seconds
        storage.create_interactions_sync(part)
    return [interaction.interaction_id for interaction in made]


def our_operations(storage: Any, made: list[str]) -> dict[str, Operation]:
    """Through the Storage interface, as a view calls it."""

    def page() -> None:
        user = f"user-{random.randrange(USERS)}"
        assert len(storage.get_user_interactions_sync(user, PAGE)) == PAGE

    return {
        "get by id": lambda: storage.get_interaction_sync(random.choice(made)),
        "page of 50": page,
        "save": lambda: storage.save_interaction_sync(new()),
        "create": lambda: storage.create_interaction_sync(new()),
        "batch of 100": lambda: storage.create_interactions_sync([new() for _ in range(BATCH)]),
    }


def our_cache(storage: Any) -> dict[str, Operation]:
    """The application's own strings."""
    storage.cache_set_sync("chat:ada:0", RESPONSE, 300)
    return {
        "cache_get": lambda: storage.cache_get_sync("chat:ada:0"),
        "cache_set": lambda: storage.cache_set_sync("chat:ada:0", RESPONSE, 300),
    }


def raw_operations(url: str, table: str) -> dict[str, Any]:
    """By hand: the same requests, written down."""
    import botocore.session

    from storage.dynamodb import items

    client = botocore.session.get_session().create_client("dynamodb", REGION, endpoint_url=url)

    def get(made: list[str]) -> Operation:
        return lambda: client.get_item(
            TableName=table,
            Key={"interaction_id": {"S": random.choice(made)}},
            ConsistentRead=True,
        )

    def page(made: list[str]) -> Operation:
        def call() -> None:
            found = client.query(
                TableName=table,
                IndexName="of_user",
                KeyConditionExpression="user_id = :u AND #p >= :o",
                ExpressionAttributeNames={"#p": "position"},
                ExpressionAttributeValues={
                    ":u": {"S": f"user-{random.randrange(USERS)}"},
                    ":o": {"S": "2026"},
                },
                ScanIndexForward=False,
                Limit=PAGE + 1,
            )["Items"]
            keys = [{"interaction_id": item["interaction_id"]} for item in found]
            request = {table: {"Keys": keys, "ConsistentRead": True}}
            assert client.batch_get_item(RequestItems=request)["Responses"][table]

        return call

    def create(made: list[str]) -> Operation:
        return lambda: client.put_item(
            TableName=table,
            Item=items.to_item(new(), items.new_version()),
            ConditionExpression="attribute_not_exists(interaction_id)",
        )

    def save(made: list[str]) -> Operation:
        def call() -> None:
            item = items.to_item(new(), items.new_version())
            key = {"interaction_id": item.pop("interaction_id")}
            client.update_item(
                TableName=table,
                Key=key,
                UpdateExpression="SET " + ", ".join(f"#{name} = :{name}" for name in item),
                ConditionExpression="attribute_not_exists(interaction_id) OR #user_id = :user_id",
                ExpressionAttributeNames={f"#{name}": name for name in item},
                ExpressionAttributeValues={f":{name}": value for name, value in item.items()},
                ReturnValues="ALL_OLD",
            )

        return call

    def batch(made: list[str]) -> Operation:
        def call() -> None:
            for _ in range(BATCH // 25):
                some = [items.to_item(new(), items.new_version()) for _ in range(25)]
                values = ", ".join(f"'{name}': ?" for name in some[0])
                statement = f'INSERT INTO "{table}" VALUE {{{values}}}'
                client.batch_execute_statement(
                    Statements=[
                        {"Statement": statement, "Parameters": list(item.values())} for item in some
                    ]
                )

        return call

    return {
        "get by id": get,
        "page of 50": page,
        "save": save,
        "create": create,
        "batch of 100": batch,
    }


def raw_cache(port: int) -> dict[str, Any]:
    """redis-py as it comes."""
    import redis

    client = redis.Redis(port=port)
    client.set("raw", RESPONSE, 300)
    return {
        "cache_get": lambda made: lambda: client.get("raw"),
        "cache_set": lambda made: lambda: client.set("raw", RESPONSE, 300),
    }


if __name__ == "__main__":
    main()
