#!/usr/bin/env bash
# granian 2.8.7, Python 3.11, Linux: with `--workers-kill-timeout N` a worker that has not ended N seconds
# after SIGTERM is killed, in the middle of a request. granian's exit status is 0 then, as after an orderly
# end, so neither a supervisor nor a test that looks at the status learns that a request was lost; the
# only trace is a line in the log. A good engineer would expect another status than after an orderly end.
#
# Output seen:
#   nobody is at work: answered, status 0, 0 killed
#   a request is at work: no answer, status 0, 1 killed
set -euo pipefail

folder=$(mktemp -d)
trap 'kill "${server:-}" 2>/dev/null || true; rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check granian==2.8.7

cat > "$folder/application.py" <<'PYTHON'
import time


def application(environ, start_response):
    if environ["PATH_INFO"] == "/slow":
        time.sleep(20)
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
PYTHON

cat > "$folder/client.py" <<'PYTHON'
import socket
import sys
import time


def connected():
    for _ in range(200):
        try:
            return socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=15)
        except OSError:
            time.sleep(0.1)
    raise SystemExit("the server did not start")


with connected() as client:
    client.sendall(f"GET {sys.argv[2]} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    print("sent", flush=True)
    try:
        print("answered" if client.recv(4096) else "no answer", flush=True)
    except OSError:
        print("no answer", flush=True)
PYTHON

# Starts a server, lets a client ask for a path, and stops the server; prints what both have said.
stopped() {
  local port client status=0
  port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
  (cd "$folder" && exec "$folder/venv/bin/granian" --interface wsgi --host 127.0.0.1 --port "$port" \
    --workers 1 --blocking-threads 2 --workers-kill-timeout 2 application:application) \
    > "$folder/log" 2>&1 &
  server=$!
  timeout 60 python3 "$folder/client.py" "$port" "$1" > "$folder/said" &
  client=$!
  for _ in $(seq 300); do
    grep -q "$2" "$folder/said" && break
    sleep 0.1
  done
  sleep 0.5
  kill -TERM "$server"
  wait "$server" || status=$?
  wait "$client"
  echo "$(tail -n 1 "$folder/said"), status $status, $(grep -c 'Killing worker' "$folder/log" || true) killed"
}

{
  echo "nobody is at work: $(stopped / answered)"
  echo "a request is at work: $(stopped /slow sent)"
} | tee "$folder/output"

diff "$folder/output" - <<'EXPECTED'
nobody is at work: answered, status 0, 0 killed
a request is at work: no answer, status 0, 1 killed
EXPECTED
