#!/usr/bin/env bash
# chainlit 2.12.0 with SQLAlchemy 2.0.51 on SQLite, and with moto 5.2.5 for DynamoDB, Python 3.11: what a user uploads
# is an object in the storage client (S3 and the like), and a record with its name. `delete_step`, which is what
# `Message.remove()` calls, deletes the message's records of files in SQLAlchemyDataLayer and no object; deleting the
# conversation then finds no record, so the object stays for ever, and nothing names it. DynamoDBDataLayer never deletes
# an object, whether the file, the message or the conversation is deleted. Nothing is raised or logged. A good engineer
# would expect a deleted conversation to take its files with it, as SQLAlchemyDataLayer does if no message was deleted
# before.
#
# Output seen:
#   SQLAlchemyDataLayer, file deleted: record of the file gone, file gone
#   SQLAlchemyDataLayer, conversation deleted: record of the file gone, file gone
#   SQLAlchemyDataLayer, message deleted: record of the file gone, file kept
#   SQLAlchemyDataLayer, and then its conversation: record of the file gone, file kept
#   DynamoDBDataLayer, file deleted: record of the file gone, file kept
#   DynamoDBDataLayer, conversation deleted: record of the file gone, file kept
#   DynamoDBDataLayer, message deleted: record of the file kept, file kept
#   DynamoDBDataLayer, and then its conversation: record of the file gone, file kept
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check chainlit==2.12.0 \
  sqlalchemy==2.0.51 aiosqlite==0.22.1 aiohttp==3.14.5 boto3==1.44.5 "moto[dynamodb]==5.2.5"

cd "$folder"
timeout 120 venv/bin/python - > output 2> errors <<'PYTHON' || { cat errors; exit 1; }
import asyncio
import os
import sqlite3

import boto3
import chainlit
from chainlit.context import init_http_context
from chainlit.data.dynamodb import DynamoDBDataLayer
from chainlit.data.sql_alchemy import SQLAlchemyDataLayer
from chainlit.data.storage_clients.base import BaseStorageClient
from moto import mock_aws

os.environ |= {"AWS_ACCESS_KEY_ID": "none", "AWS_SECRET_ACCESS_KEY": "none", "AWS_DEFAULT_REGION": "us-east-1"}
TABLES = """
CREATE TABLE users (id PRIMARY KEY, identifier UNIQUE, metadata, "createdAt");
CREATE TABLE threads (id PRIMARY KEY, "createdAt", name, "userId", "userIdentifier", tags, metadata);
CREATE TABLE steps (id PRIMARY KEY, name, type, "threadId", "parentId", streaming, "waitForAnswer", "isError",
  metadata, tags, input, output, "createdAt", command, modes, start, "end", generation, "showInput", language);
CREATE TABLE elements (id PRIMARY KEY, "threadId", type, url, "chainlitKey", name, display, "objectKey", size, page,
  "autoPlay", "playerConfig", language, "forId", mime, props);
CREATE TABLE feedbacks (id PRIMARY KEY, "forId", "threadId", value, comment);
"""


class Files(BaseStorageClient):
    def __init__(self):
        self.kept = {}

    async def upload_file(self, object_key, data, mime="", overwrite=True, content_disposition=None):
        self.kept[object_key] = data
        return {"object_key": object_key, "url": f"memory:{object_key}"}

    async def delete_file(self, object_key):
        return self.kept.pop(object_key, None) is not None

    async def get_read_url(self, object_key):
        return f"memory:{object_key}"

    async def close(self):
        pass


def sql():
    with sqlite3.connect("chainlit.sqlite3") as database:
        database.executescript(TABLES)
    return SQLAlchemyDataLayer("sqlite+aiosqlite:///chainlit.sqlite3", storage_provider=Files())


def dynamodb():
    names = ("PK", "SK", "UserThreadPK", "UserThreadSK")
    keys = [
        [{"AttributeName": name, "KeyType": kind} for name, kind in zip(pair, ("HASH", "RANGE"))]
        for pair in (names[:2], names[2:])
    ]
    client = boto3.client("dynamodb")
    client.create_table(
        TableName="chainlit",
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in names],
        KeySchema=keys[0],
        GlobalSecondaryIndexes=[
            {"IndexName": "UserThread", "KeySchema": keys[1], "Projection": {"ProjectionType": "ALL"}}
        ],
    )
    return DynamoDBDataLayer("chainlit", client=client, storage_provider=Files())


async def converse(layer, thread):
    """A conversation of one message with one file."""
    init_http_context(thread_id=thread)
    user = await layer.create_user(chainlit.User(identifier="ann"))
    await layer.update_thread(thread, name="talk", user_id=user.id)
    message = chainlit.Message(content="see the file")
    await layer.create_step(message.to_dict())
    element = chainlit.File(name="scan.txt", content=b"private", for_id=message.id)
    await layer.create_element(element)
    assert await layer.get_thread(thread) and len(layer.storage_provider.kept) == 1
    return message, element


async def look(layer):
    name = type(layer).__name__

    async def tell(what, thread, element):
        record = "kept" if await layer.get_element(thread, element.id) else "gone"
        left = "kept" if layer.storage_provider.kept else "gone"
        print(f"{name}, {what}: record of the file {record}, file {left}")

    _, element = await converse(layer, "a")
    await layer.delete_element(element.id, "a")
    await tell("file deleted", "a", element)
    layer.storage_provider.kept.clear()

    _, element = await converse(layer, "b")
    await layer.delete_thread("b")
    await tell("conversation deleted", "b", element)
    layer.storage_provider.kept.clear()

    message, element = await converse(layer, "c")
    await layer.delete_step(message.id)
    await tell("message deleted", "c", element)
    await layer.delete_thread("c")
    await tell("and then its conversation", "c", element)
    await layer.close()


with mock_aws():
    for make in (sql, dynamodb):
        asyncio.run(look(make()))
PYTHON

cat output
diff output - <<'EXPECTED'
SQLAlchemyDataLayer, file deleted: record of the file gone, file gone
SQLAlchemyDataLayer, conversation deleted: record of the file gone, file gone
SQLAlchemyDataLayer, message deleted: record of the file gone, file kept
SQLAlchemyDataLayer, and then its conversation: record of the file gone, file kept
DynamoDBDataLayer, file deleted: record of the file gone, file kept
DynamoDBDataLayer, conversation deleted: record of the file gone, file kept
DynamoDBDataLayer, message deleted: record of the file kept, file kept
DynamoDBDataLayer, and then its conversation: record of the file gone, file kept
EXPECTED
