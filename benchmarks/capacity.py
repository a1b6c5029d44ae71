"""What DynamoDB charges for each operation: our table beside the naive mirror of the SQL table.

    python benchmarks/capacity.py [--data FILE.jsonl.gz] [--interactions 500]

Writes are what the server reports (`ReturnConsumedCapacity=INDEXES`, from a ministack that is
installed and started for it: the one that the tests use does not count). Reads are DynamoDB's
published rule applied to the bytes that are read, since emulators do not count them right: a
unit is 4 KB read consistently or 8 KB eventually.
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html

The naive mirror has one index, by user and time, that projects all attributes; a list reads it
eventually consistently, and so does a read by id, as PynamoDB does unless told otherwise.
"""

import argparse
import gzip
import json
import math
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from harness.calls import MESSAGE, RESPONSE
from harness.contestants import cache_folder
from harness.ratios import Ratios, ratio, save

import config  # noqa: F401  (before sqlite3)

PAGE = 50
WRITES_PER_MILLION = 0.625
READS_PER_MILLION = 0.125
STORED_PER_GB_AND_MONTH = 0.25
"""US dollars, on demand, us-east-1, as of 2025."""

MINISTACK = "ministack==1.5.33"

NAIVE = {
    "KeySchema": [{"AttributeName": "interaction_id", "KeyType": "HASH"}],
    "AttributeDefinitions": [
        {"AttributeName": name, "AttributeType": "S"}
        for name in ("interaction_id", "user_id", "created_at")
    ],
    "GlobalSecondaryIndexes": [
        {
            "IndexName": "user_index",
            "KeySchema": [
                {"AttributeName": "user_id", "KeyType": "HASH"},
                {"AttributeName": "created_at", "KeyType": "RANGE"},
            ],
            "Projection": {"ProjectionType": "ALL"},
        }
    ],
    "BillingMode": "PAY_PER_REQUEST",
}
ANSWER = ("question", "answer")
WRITES = ("save", "save a question", "complete it", "delete")
ONLY_OURS = ("position", "shard", "expires_at", "version", "saved_as", *ANSWER)


def main() -> None:
    """Measure and print two tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", help="JSON lines with message and response, gzipped")
    parser.add_argument("--interactions", type=int, default=500)
    parser.add_argument("--json", type=Path, help="also write the ratios there")
    arguments = parser.parse_args()
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "AWS_ACCESS_KEY_ID": "benchmark",
        "AWS_SECRET_ACCESS_KEY": "benchmark",
    }
    import django

    django.setup()
    from tests.servers import DynamoDB

    server = DynamoDB(install(MINISTACK))
    try:
        interactions = sample(arguments.data, arguments.interactions)
        designs = measure(server.url, interactions)
    finally:
        server.stop()
    save(show(designs), arguments.json)


def install(requirement: str) -> Path:
    """The program of that name, in a virtual environment of its own: it pins its libraries."""
    environment = cache_folder() / "environments" / requirement
    program = environment / "bin" / requirement.partition("==")[0]
    if not program.exists():
        subprocess.run([sys.executable, "-m", "venv", environment], check=True)
        pip = [environment / "bin" / "pip", "install", "--quiet", "--quiet", requirement]
        subprocess.run(pip, check=True)
    return program


def sample(data: str | None, count: int) -> list[Any]:
    """Interactions with real texts, or made up ones."""
    from storage.models import ChatInteraction

    texts = [{"message": MESSAGE, "response": RESPONSE}] * count
    if data:
        with gzip.open(data, "rt", encoding="utf-8") as file:
            texts = [json.loads(line) for line, _ in zip(file, range(count), strict=False)]
    return [
        ChatInteraction(
            user_id=f"user-{number % 40:03}",
            message=text["message"],
            response=text["response"],
            model_used="model-1",
            input_tokens=40,
            output_tokens=450,
        )
        for number, text in enumerate(texts)
    ]


def measure(url: str, interactions: list[Any]) -> dict[str, dict[str, float]]:
    """Mean units of each operation, and bytes stored, for both designs."""
    from storage.dynamodb import items, table

    ours = [items.to_item(interaction, items.new_version()) for interaction in interactions]
    naive = [
        {name: value for name, value in item.items() if name not in ONLY_OURS} for item in ours
    ]
    entry = ("interaction_id", "user_id", "position")
    answer = ("interaction_id", *ANSWER)
    return {
        "ours": writes(url, "ours", table.definition(), ours)
        | {
            "read by id": mean(read_units(size(item), consistent=True) for item in ours),
            # The index's entries are one item to the rule; each row is one of its own.
            "page of 50": read_units(PAGE * mean(size(item, entry) for item in ours))
            + PAGE * mean(read_units(size(item), consistent=True) for item in ours),
            "bytes stored": mean(
                # DynamoDB adds 100 bytes for each item and each entry of an index.
                size(item) + 100 + 2 * (size(item, entry) + 100) + size(item, answer) + 100
                for item in ours
            ),
        },
        "naive": writes(url, "naive", NAIVE, naive)
        | {
            "read by id": mean(read_units(size(item)) for item in naive),
            "page of 50": read_units(PAGE * mean(size(item) for item in naive)),
            "bytes stored": mean(2 * (size(item) + 100) for item in naive),
        },
    }


def writes(url: str, name: str, definition: dict[str, Any], stored: list[Any]) -> dict[str, float]:
    """Mean units that the server reports for a save, a completion and a deletion."""
    import botocore.session

    client = botocore.session.get_session().create_client("dynamodb", "us-east-1", endpoint_url=url)
    client.create_table(TableName=name, **definition)
    report = {"TableName": name, "ReturnConsumedCapacity": "INDEXES"}
    units: dict[str, list[float]] = {name: [] for name in WRITES}
    for item in stored:
        key = {"interaction_id": item["interaction_id"]}
        # A streamed answer arrives later: saved without it, then completed.
        early = {name: value for name, value in item.items() if name not in ANSWER}
        early["response"] = {"S": ""}
        completed = {name: item[name] for name in ("response", *ANSWER) if name in item}
        responses = {
            "save": client.put_item(Item=item, **report),
            "delete": client.delete_item(Key=key, **report),
            "save a question": client.put_item(Item=early, **report),
            "complete it": client.update_item(
                Key=key,
                UpdateExpression="SET " + ", ".join(f"#{name} = :{name}" for name in completed),
                ExpressionAttributeNames={f"#{name}": name for name in completed},
                ExpressionAttributeValues={f":{name}": value for name, value in completed.items()},
                **report,
            ),
        }
        client.delete_item(Key=key, TableName=name)
        for operation in units:
            units[operation].append(responses[operation]["ConsumedCapacity"]["CapacityUnits"])
    return {operation: mean(values) for operation, values in units.items()}


def size(item: dict[str, Any], only: tuple[str, ...] | None = None) -> int:
    """Bytes of an item by DynamoDB's rule: names and values; about half a byte for a digit."""
    return sum(
        len(name) + (len(value["S"].encode()) if "S" in value else len(value["N"]) // 2 + 2)
        for name, value in item.items()
        if only is None or name in only
    )


def read_units(byte_count: float, *, consistent: bool = False) -> float:
    """Read units for so many bytes in one item or one page."""
    return math.ceil(byte_count / 4096) * (1.0 if consistent else 0.5)


def mean(values: Any) -> float:
    """The mean of numbers."""
    return statistics.fmean(values)


def show(designs: dict[str, dict[str, float]]) -> Ratios:
    """Units for each operation, then a million interactions a day."""
    ours, naive = designs["ours"], designs["naive"]
    ratios: Ratios = {}
    print("| operation | units | ours | naive mirror | ours / naive |")
    print("|---|---|---|---|---|")
    for operation in (*WRITES, "read by id", "page of 50"):
        kind = "write" if operation in WRITES else "read"
        units = ratio([(ours[operation], naive[operation])])
        ratios[f"capacity/{operation}"] = units
        print(
            f"| {operation} | {kind} | {ours[operation]:.2f} | {naive[operation]:.2f} "
            f"| {units.median:.2f} |"
        )
    print("\n| a million interactions a day | ours | naive mirror |")
    print("|---|---|---|")
    for name, cost in {
        "saved whole": lambda d: d["save"] * WRITES_PER_MILLION,
        "saved, then completed": lambda d: (
            (d["save a question"] + d["complete it"]) * WRITES_PER_MILLION
        ),
        "each read once by id": lambda d: d["read by id"] * READS_PER_MILLION,
        "100,000 pages of 50": lambda d: d["page of 50"] * READS_PER_MILLION / 10,
        "kept for 30 days": lambda d: d["bytes stored"] * 30e6 / 1e9 * STORED_PER_GB_AND_MONTH / 30,
    }.items():
        print(f"| {name}, $ a day | {cost(ours):.2f} | {cost(naive):.2f} |")
    return ratios


if __name__ == "__main__":
    main()
