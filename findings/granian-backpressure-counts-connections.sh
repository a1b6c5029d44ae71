#!/usr/bin/env bash
# granian 2.8.7, Python 3.11, Linux: `--backpressure N` is described as the "maximum number of requests
# to process concurrently (per worker)". It counts connections, idle ones too: N clients that keep a
# connection open after their response keep every other client waiting, health checks included, until
# one of them closes it. The default is backlog / workers, so 1024 idle connections stop a worker.
# A good engineer would expect that a connection without a request in progress counts for nothing.
#
# Output seen:
#   two idle connections: a third client waits
#   one of them closed: the third client is answered 200
set -euo pipefail

folder=$(mktemp -d)
trap 'kill "${server:-}" 2>/dev/null || true; rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check granian==2.8.7

cat > "$folder/application.py" <<'PYTHON'
def application(environ, start_response):
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
PYTHON

port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
cd "$folder"
"$folder/venv/bin/granian" --interface wsgi --host 127.0.0.1 --port "$port" --http 1 --no-ws \
  --workers 1 --blocking-threads 8 --backpressure 2 --log-level error application:application &
server=$!

timeout 120 python3 - "$port" > "$folder/output" <<'PYTHON'
import socket
import sys
import time

REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


def connect():
    for _ in range(200):
        try:
            return socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=20)
        except OSError:
            time.sleep(0.1)
    raise SystemExit("the server did not start")


def answered(client):
    client.sendall(REQUEST)
    return client.recv(4096).split()[1].decode()


idle = [connect(), connect()]
for client in idle:
    assert answered(client) == "200"  # and the connection stays open
third = connect()
third.settimeout(3)
try:
    status = answered(third)
except TimeoutError:
    print("two idle connections: a third client waits")
else:
    print(f"two idle connections: a third client is answered {status}")
    raise SystemExit
idle[0].close()
third.settimeout(20)
print(f"one of them closed: the third client is answered {third.recv(4096).split()[1].decode()}")
PYTHON

cat "$folder/output"
diff "$folder/output" - <<'EXPECTED'
two idle connections: a third client waits
one of them closed: the third client is answered 200
EXPECTED
