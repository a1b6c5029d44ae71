"""What DynamoDB charges for each operation: our table, its items before 0.4, and a naive mirror.

    python benchmarks/capacity.py [--data FILE.jsonl.gz] [--interactions 500]

All interactions are counted by DynamoDB's published rules; those of `--interactions` are also
written to a server that counts (`ReturnConsumedCapacity=INDEXES`, from a ministack). Both must
agree. Reads are by the rules alone, since emulators do not count them right.
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html

The naive mirror is the SQL table as it is, with one index, by user and time, that projects all
attributes; a list reads it eventually consistently, and so does a read by id, as PynamoDB does
unless told otherwise.
"""

import argparse
import copy
import gzip
import json
import math
import os
import statistics
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from harness.calls import MESSAGE, RESPONSE
from harness.ratios import Ratios, ratio, save, table

import config  # noqa: F401  (before sqlite3)

PAGE = 50
WRITES_PER_MILLION = 0.625
READS_PER_MILLION = 0.125
STORED_PER_GB_AND_MONTH = 0.25
"""US dollars, on demand, us-east-1, as of 2025."""

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
ENTRIES = {
    "of_user": ("interaction_id", "user_id", "position"),
    "newest": ("interaction_id", "shard", "position"),
    "answers": ("interaction_id", "question", "answer"),
}
"""The attributes of an entry of each of our indexes. An item without one of them has none there."""

WRITES = ("save", "save a question", "complete it", "delete")
ONLY_OURS = ("position", "shard", "expires_at", "version", "saved_as", "question", "answer")
DESIGNS = ("ours", "before 0.4", "naive mirror")

Item = dict[str, Any]


def main() -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", help="JSON lines of interactions, gzipped")
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

    interactions = read(arguments.data) if arguments.data else made_up(arguments.interactions)
    ratios = show({name: by_the_rules(name, interactions) for name in DESIGNS})
    server = DynamoDB()
    try:
        some = interactions[: arguments.interactions]
        for name in DESIGNS:
            compare(name, by_the_rules(name, some), counted_by(server.url, name, some))
    finally:
        server.stop()
    save(ratios, arguments.json)


def read(data: str) -> list[Any]:
    """The interactions of a file, as if they were saved now."""
    from storage.models import ChatInteraction

    fields = ("interaction_id", "user_id", "message", "response", "model_used")
    with gzip.open(data, "rt", encoding="utf-8") as file:
        return [
            ChatInteraction(
                **{name: row[name] for name in fields},
                input_tokens=row["input_tokens"],
                output_tokens=row["output_tokens"],
            )
            for row in map(json.loads, file)
        ]


def made_up(count: int) -> list[Any]:
    """Interactions that are all alike."""
    from storage.models import ChatInteraction

    return [
        ChatInteraction(
            user_id=f"user-{number % 40:03}",
            message=MESSAGE,
            response=RESPONSE,
            model_used="model-1",
            input_tokens=40,
            output_tokens=450,
        )
        for number in range(count)
    ]


def item_of(design: str, interaction: Any) -> Item:
    """What a design stores of an interaction."""
    from storage.dynamodb import items
    from tests.storage.dynamodb.old_items import to_old_item

    if design == "ours":
        return items.to_item(interaction, items.new_version())
    item = to_old_item(interaction, items.new_version())
    if design == "naive mirror":
        return {name: value for name, value in item.items() if name not in ONLY_OURS}
    return item


def question_of(design: str, interaction: Any) -> Item:
    """What is stored of it before its answer has come."""
    question = copy.copy(interaction)
    question.response, question.output_tokens = "", 0
    return item_of(design, question)


def entries(design: str, item: Item) -> list[Item]:
    """The entries of an item in the indexes of a design."""
    if design == "naive mirror":
        return [item]
    return [
        {name: item[name] for name in names} for names in ENTRIES.values() if {*names} <= {*item}
    ]


def by_the_rules(design: str, interactions: list[Any]) -> dict[str, float]:
    """Mean units of each operation, and bytes stored."""
    found: dict[str, list[float]] = {
        name: [] for name in (*WRITES, "read by id", "of a page", "bytes stored")
    }
    for interaction in interactions:
        item, early = item_of(design, interaction), question_of(design, interaction)
        indexed, indexed_early = entries(design, item), entries(design, early)
        whole = sum(map(write_units, [item, *indexed]))
        found["save"].append(whole)
        found["delete"].append(whole)
        found["save a question"].append(sum(map(write_units, [early, *indexed_early])))
        found["complete it"].append(
            max(write_units(item), write_units(early))
            + sum(write_units(entry) for entry in indexed if entry not in indexed_early)
        )
        is_naive = design == "naive mirror"
        found["read by id"].append(read_units(size(item), consistent=not is_naive))
        # An index's entries are read together. Of ours, each row is then read by itself.
        found["of a page"].append(size(indexed[0]))
        # DynamoDB adds 100 bytes for each item and each entry of an index.
        found["bytes stored"].append(sum(size(each) + 100 for each in [item, *indexed]))
    means = {name: statistics.fmean(values) for name, values in found.items()}
    page = read_units(PAGE * means.pop("of a page"))
    if design != "naive mirror":
        page += PAGE * means["read by id"]
    return means | {"page of 50": page}


def counted_by(url: str, design: str, interactions: list[Any]) -> dict[str, float]:
    """Mean units that the server reports for each write."""
    import botocore.session

    from storage.dynamodb.table import definition as of_ours

    client = botocore.session.get_session().create_client("dynamodb", "us-east-1", endpoint_url=url)
    name = design.replace(" ", "-")
    definition = NAIVE if design == "naive mirror" else of_ours()
    client.create_table(TableName=name, **definition)
    report = {"TableName": name, "ReturnConsumedCapacity": "INDEXES"}
    units: dict[str, list[float]] = {name: [] for name in WRITES}
    for interaction in interactions:
        item, early = item_of(design, interaction), question_of(design, interaction)
        key = {"interaction_id": item["interaction_id"]}
        changes = {name: value for name, value in item.items() if value != early.get(name)}
        responses = {
            "save": client.put_item(Item=item, **report),
            "delete": client.delete_item(Key=key, **report),
            "save a question": client.put_item(Item=early, **report),
            "complete it": client.update_item(Key=key, **update(changes, early, item), **report),
        }
        client.delete_item(Key=key, TableName=name)
        for operation in units:
            units[operation].append(responses[operation]["ConsumedCapacity"]["CapacityUnits"])
    return {operation: statistics.fmean(values) for operation, values in units.items()}


def update(changes: Item, before: Item, after: Item) -> dict[str, Any]:
    """The parameters of UpdateItem that make one item of another."""
    gone = [name for name in before if name not in after]
    expression = "SET " + ", ".join(f"#{name} = :{name}" for name in changes)
    if gone:
        expression += " REMOVE " + ", ".join(f"#{name}" for name in gone)
    return {
        "UpdateExpression": expression,
        "ExpressionAttributeNames": {f"#{name}": name for name in (*changes, *gone)},
        "ExpressionAttributeValues": {f":{name}": value for name, value in changes.items()},
    }


def compare(design: str, rules: dict[str, float], server: dict[str, float]) -> None:
    """Print what the rules and the server say of the same interactions."""
    pairs = ", ".join(f"{name} {rules[name]:.2f} / {server[name]:.2f}" for name in WRITES)
    print(f"\n{design}, by the rules / by the server: {pairs}")


def size(item: Item) -> int:
    """Bytes of an item by DynamoDB's rule: names and values; half a byte for a digit, and one."""
    return sum(len(name) + _size(value) for name, value in item.items())


def _size(value: dict[str, Any]) -> int:
    if "N" in value:
        return math.ceil(len(value["N"].rstrip("0")) / 2) + 1
    return len(value["S"].encode() if "S" in value else value["B"])


def write_units(item: Item) -> int:
    """Write units for an item, or an entry of an index."""
    return math.ceil(size(item) / 1024)


def read_units(byte_count: float, *, consistent: bool = False) -> float:
    """Read units for so many bytes in one item or one page."""
    return math.ceil(byte_count / 4096) * (1.0 if consistent else 0.5)


def a_day(units: dict[str, float]) -> dict[str, float]:
    """US dollars for a million interactions a day."""
    whole = units["save"] * WRITES_PER_MILLION
    streamed = (units["save a question"] + units["complete it"]) * WRITES_PER_MILLION
    others = {
        "each read once by id": units["read by id"] * READS_PER_MILLION,
        "100,000 pages of 50": units["page of 50"] * READS_PER_MILLION / 10,
        "kept for 30 days": units["bytes stored"] * 30e6 / 1e9 * STORED_PER_GB_AND_MONTH / 30,
    }
    return {
        "saved whole": whole,
        "saved, then completed": streamed,
        **others,
        "sum, saved whole": whole + sum(others.values()),
        "sum, saved, then completed": streamed + sum(others.values()),
    }


def show(designs: dict[str, dict[str, float]]) -> Ratios:
    """Units for each operation, then a million interactions a day."""
    ratios: Ratios = {}
    rows = []
    for name, unit in {
        **dict.fromkeys(WRITES, "write units"),
        "read by id": "read units",
        "page of 50": "read units",
        "bytes stored": "bytes",
    }.items():
        values = [designs[design][name] for design in DESIGNS]
        ratios[f"capacity/{name}"] = ratio([(values[0], values[2])])
        rows.append((f"{name}, {unit}", *cells(values, 0 if unit == "bytes" else 2)))
    columns = [*DESIGNS, "ours / before", "ours / naive"]
    print(table("operation", columns, rows))
    days = {design: a_day(units) for design, units in designs.items()}
    rows = [
        (f"{name}, $ a day", *cells([days[design][name] for design in DESIGNS], 2))
        for name in days["ours"]
    ]
    print("\n" + table("a million interactions a day", columns, rows))
    return ratios


def cells(values: list[float], digits: int) -> list[str]:
    """The three figures, and the first as a part of the others."""
    ours, before, naive = values
    return [
        *(f"{value:,.{digits}f}" for value in values),
        f"{ours / before:.3f}",
        f"{ours / naive:.3f}",
    ]


if __name__ == "__main__":
    main()
