#!/usr/bin/env bash
# langgraph-checkpoint-aws 1.2.6 with boto3 1.44.8 and moto 5.2.5, Python 3.11: with `refresh_on_read` (a read starts an
# item's time anew) DynamoDBStore gives every item that is read the store's `default_ttl`, whatever it was put with. So
# a memory that was put with `ttl=None`, to be kept for ever, is let go an hour after it was looked at, and one that was
# put for a year as well. `get` does it, and `search` does it to all that it finds. One that was put for five minutes
# stays for an hour. Nothing is raised or logged. LangGraph's own SqliteStore keeps with each item what it was put with,
# and leaves alone what has no end. A good engineer would expect a read to lengthen a life, and never to shorten it.
#
# Output seen (minutes that are left, `default_ttl` 60):
#   SqliteStore: put for ever none, a year 525600, an hour 60, five minutes 5
#   SqliteStore, after one search: for ever none, a year 525600, an hour 60, five minutes 5
#   DynamoDBStore: put for ever none, a year 525600, an hour 60, five minutes 5
#   DynamoDBStore, after one search: for ever 60, a year 60, an hour 60, five minutes 60
#   DynamoDBStore: put for ever, after one get: 60
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check langgraph-checkpoint-aws==1.2.6 \
  langgraph-checkpoint==4.3.2 langgraph-checkpoint-sqlite==3.1.2 boto3==1.44.8 'moto[dynamodb]==5.2.5'

cd "$folder"
export AWS_ACCESS_KEY_ID=none AWS_SECRET_ACCESS_KEY=none AWS_DEFAULT_REGION=us-east-1
timeout 100 venv/bin/python - > output <<'PYTHON'
import time
from datetime import datetime

from langgraph.store.sqlite import SqliteStore
from langgraph_checkpoint_aws import DynamoDBStore
from moto import mock_aws

NAMES = {"for ever": None, "a year": 365 * 24 * 60, "an hour": 60, "five minutes": 5}
EXPIRY = {"default_ttl": 60, "refresh_on_read": True}
USER = ("memories", "ann")


def left(store, name):
    """The minutes until the item is deleted."""
    if isinstance(store, SqliteStore):
        [found] = store.conn.execute("SELECT expires_at FROM store WHERE key = ?", [name]).fetchone()
        end = found and datetime.fromisoformat(f"{found[:19]}+00:00").timestamp()
    else:
        key = {"PK": {"S": ":".join(USER)}, "SK": {"S": name}}
        found = store.client.get_item(TableName="memories", Key=key)["Item"].get("expires_at")
        end = found and int(found["N"])
    return round((end - time.time()) / 60) if end else "none"


def show(store):
    kind = type(store).__name__
    for name, minutes in NAMES.items():
        store.put(USER, name, {"text": "something"}, ttl=minutes)
    print(f"{kind}: put", ", ".join(f"{name} {left(store, name)}" for name in NAMES))
    store.search(USER)
    print(f"{kind}, after one search:", ", ".join(f"{name} {left(store, name)}" for name in NAMES))


with SqliteStore.from_conn_string("memories.sqlite3", ttl=EXPIRY) as sqlite:
    sqlite.setup()
    show(sqlite)
with mock_aws():
    dynamodb = DynamoDBStore(table_name="memories", ttl=EXPIRY)
    dynamodb.setup()
    show(dynamodb)
    dynamodb.put(USER, "another", {"text": "something"}, ttl=None)
    dynamodb.get(USER, "another")
    print("DynamoDBStore: put for ever, after one get:", left(dynamodb, "another"))
PYTHON

cat output
diff output - <<'EXPECTED'
SqliteStore: put for ever none, a year 525600, an hour 60, five minutes 5
SqliteStore, after one search: for ever none, a year 525600, an hour 60, five minutes 5
DynamoDBStore: put for ever none, a year 525600, an hour 60, five minutes 5
DynamoDBStore, after one search: for ever 60, a year 60, an hour 60, five minutes 60
DynamoDBStore: put for ever, after one get: 60
EXPECTED
