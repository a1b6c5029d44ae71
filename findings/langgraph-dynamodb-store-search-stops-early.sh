#!/usr/bin/env bash
# langgraph-checkpoint-aws 1.2.6 with boto3 1.44.8 and moto 5.2.5, Python 3.11: `search(prefix, filter=..., limit=...)`
# of DynamoDBStore without a vector index asks for the first `limit` items, and then looks which of them the filter
# wants. What matches and lies further back is not found; without a limit it looks at ten. And it takes the prefix for a
# whole namespace: what lies below it is not found. So who looks for what a user has starred gets none or a part, and
# who exports or erases all of a user by the prefix leaves all of it. Nothing is raised or logged. LangGraph's
# InMemoryStore and SqliteStore find all. A good engineer would expect a limit to be on what is found, and a prefix to
# be one.
#
# Output seen (30 notes, every tenth is starred):
#   InMemoryStore: starred 09, 19, 29; first three of them 09, 19, 29; below the prefix 30; left after erasing by it 0
#   SqliteStore: starred 09, 19, 29; first three of them 09, 19, 29; below the prefix 30; left after erasing by it 0
#   DynamoDBStore: starred 09; first three of them none; below the prefix 0; left after erasing by it 30
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check langgraph-checkpoint-aws==1.2.6 \
  langgraph-checkpoint==4.3.2 langgraph-checkpoint-sqlite==3.1.2 boto3==1.44.8 'moto[dynamodb]==5.2.5'

cd "$folder"
export AWS_ACCESS_KEY_ID=none AWS_SECRET_ACCESS_KEY=none AWS_DEFAULT_REGION=us-east-1
timeout 100 venv/bin/python - > output <<'PYTHON'
from langgraph.store.memory import InMemoryStore
from langgraph.store.sqlite import SqliteStore
from langgraph_checkpoint_aws import DynamoDBStore
from moto import mock_aws


def keys(found):
    return ", ".join(sorted(item.key for item in found)) or "none"


def show(store):
    notes = ("ann", "notes")
    for number in range(30):
        store.put(notes, f"{number:02}", {"starred": number % 10 == 9})
    starred = keys(store.search(notes, filter={"starred": True}))
    three = keys(store.search(notes, filter={"starred": True}, limit=3))
    below = store.search(("ann",), limit=100)
    for item in below:
        store.delete(item.namespace, item.key)
    left = len(store.search(notes, limit=100))
    print(
        f"{type(store).__name__}: starred {starred}; first three of them {three}; "
        f"below the prefix {len(below)}; left after erasing by it {left}"
    )


show(InMemoryStore())
with SqliteStore.from_conn_string("notes.sqlite3") as sqlite:
    sqlite.setup()
    show(sqlite)
with mock_aws():
    dynamodb = DynamoDBStore(table_name="notes")
    dynamodb.setup()
    show(dynamodb)
PYTHON

cat output
diff output - <<'EXPECTED'
InMemoryStore: starred 09, 19, 29; first three of them 09, 19, 29; below the prefix 30; left after erasing by it 0
SqliteStore: starred 09, 19, 29; first three of them 09, 19, 29; below the prefix 30; left after erasing by it 0
DynamoDBStore: starred 09; first three of them none; below the prefix 0; left after erasing by it 30
EXPECTED
