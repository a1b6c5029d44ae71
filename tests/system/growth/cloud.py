"""What each operation asks of DynamoDB and S3: requests, and the bytes that S3 answers.

    python -m tests.system.growth.cloud ROWS [--servers DYNAMODB_URL S3_URL]

fills a table and a bucket for each number of rows, such as 500,5000, in moto's memory unless there
are addresses, and prints the counts as JSON. There is no Redis. All requests go through botocore,
which counts them.
"""

import json
import os
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any

from tests.system.growth import counting, filling
from tests.system.growth.filling import Content, rare_user, user

USERS, DAYS = 50, 41
"""Ten of these days are archived: moto takes milliseconds for each file."""

AVERAGE = user(7)
AT_ONCE = 25

asked: Counter[str] = Counter()


def count_requests() -> None:
    """Count what is sent to AWS, and the bytes of what S3 answers, from now on."""
    from botocore.endpoint import Endpoint

    send = Endpoint.make_request

    def counted(endpoint: Any, operation: Any, request: Any) -> Any:
        answer = send(endpoint, operation, request)
        service = operation.service_model.service_name
        asked[service] += 1
        if service == "s3":
            asked["s3 bytes"] += int(answer[0].headers.get("content-length") or 0)
        return answer

    Endpoint.make_request = counted


@contextmanager
def requests() -> Iterator[dict[str, Any]]:
    """The requests in this block."""
    found: dict[str, Any] = {}
    asked.clear()
    yield found
    found |= asked


def command(*words: str) -> dict[str, Any]:
    """Run a command; its requests, exit status and summary."""
    with requests() as found:
        ended = counting.run(*words)
    return found | ended


def fill(client: Any, content: Content) -> None:
    """Put the hot rows and the stubs into the table, and the cold rows into the archive."""
    segments = filling.write_archive(content, 1)
    made = [stub(content, number, name) for name, numbers in segments for number in numbers]
    made += [item(content, number) for number in filling.hot(content)]
    parts = [made[first : first + AT_ONCE] for first in range(0, len(made), AT_ONCE)]
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(partial(put, client), parts))


def item(content: Content, number: int) -> Any:
    """The item of a hot row."""
    from storage.dynamodb import items

    return items.to_item(_interaction(content, number), items.new_version())


def stub(content: Content, number: int, segment: str) -> Any:
    """The item of a cold row."""
    from storage.dynamodb import items

    return items.to_stub_item(_interaction(content, number), segment, items.new_version())


def put(client: Any, made: list[Any]) -> None:
    """Put items, in one request."""
    puts = [{"PutRequest": {"Item": each}} for each in made]
    answer = client.request("BatchWriteItem", {"RequestItems": {client.table: puts}})
    assert not answer.get("UnprocessedItems")


def _interaction(content: Content, number: int) -> Any:
    from storage.models import ChatInteraction
    from storage.models.interaction import FIELDS

    values = dict(zip(FIELDS, content.values(number), strict=True))
    return ChatInteraction.from_stored(values)


def everything(content: Content, folder: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every operation, in an order in which none changes what another one counts."""
    from storage import get_storage

    yield "status", command("storage_status")
    with requests() as found:
        for number in range(content.cold // 3, content.cold, content.cold // 15):
            assert get_storage().get_interaction_sync(content.identifier(number)) is not None
    yield "cold reads", found
    for name, user_id in (("everyone's page", None), ("user's pages", AVERAGE)):
        with requests() as found:
            lengths = counting.page_lengths(content, user_id)
        yield name, found | {"lengths": lengths}
    for name, user_id in (("export rare", rare_user(0)), ("export average", AVERAGE)):
        output = folder / name
        found = command("export_user", user_id, "--output", str(output))
        result = sum(file.stat().st_size for file in output.iterdir())
        yield name, found | {"result": result}
    yield "erase rare", command("erase_user", rare_user(1))
    yield "erase average", command("erase_user", AVERAGE)


@contextmanager
def servers(urls: list[str]) -> Iterator[tuple[str, str]]:
    """The addresses of DynamoDB and S3; empty ones are moto's, within this block."""
    from storage.dynamodb import transport

    setattr(transport, "OPERATIONS", frozenset())  # noqa: B010
    if urls:
        dynamodb, s3 = urls
        yield dynamodb, s3
        return
    import moto

    with moto.mock_aws():
        yield "", ""


def counts(content: Content, dynamodb: str, s3: str) -> dict[str, Any]:
    """The counts of a store in a table and a bucket of its own."""
    from django.conf import settings
    from django.core.cache.backends.dummy import DummyCache

    from chat.maintenance.identity import confirm_archive
    from storage.archive.archive import Archive
    from storage.archive.bucket import ArchiveBucket
    from storage.dynamodb import mirror
    from storage.startup import selection
    from tests import clouds
    from tests.buckets import PATIENT

    bucket = ArchiveBucket(f"growth-{content.rows}", clouds.REGION, s3 or None)
    bucket.client_config = bucket.client_config.merge(PATIENT)
    place = {"LocationConstraint": clouds.REGION}
    client = bucket.connection.meta.client
    client.create_bucket(Bucket=bucket.bucket_name, CreateBucketConfiguration=place)
    model = mirror.bound("unused", clouds.REGION, dynamodb, clouds.CONNECTIONS)
    storage = clouds.make_storage(model, DummyCache("", {}), Archive(bucket))
    setattr(selection, "_storage_of", lambda process_id: storage)  # noqa: B010
    confirm_archive(storage)
    fill(storage.database.client, content)
    folder = settings.DATA_DIR / str(content.rows)
    folder.mkdir()
    return dict(everything(content, folder))


def main() -> None:
    """Fill, count, and print."""
    import config  # noqa: F401  (before Django: see config/__init__.py)

    os.environ |= {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    import django

    django.setup()
    from storage.dynamodb.database import DynamoDBDatabase
    from storage.startup import schema

    schema.migrate_under_lock()
    DynamoDBDatabase.index_lag_seconds = 0
    now = datetime.now(UTC)
    stores = [Content(int(rows), now, USERS, DAYS) for rows in sys.argv[1].split(",")]
    with servers(sys.argv[3:]) as urls:
        counting.run("storage_status")  # imports what it needs
        count_requests()
        print(json.dumps({content.rows: counts(content, *urls) for content in stores}))


if __name__ == "__main__":
    main()
