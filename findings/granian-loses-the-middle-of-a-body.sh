#!/usr/bin/env bash
# granian 2.8.9, Python 3.11, Linux: `wsgi.input.read(N)` takes what has arrived into a buffer, and gives N bytes of
# it. A `read()` that follows reads on behind the buffer, so what is left there is lost: of a small body all but the
# first N bytes, of a large one a piece in the middle. The same goes for `readline()`, then `read()`. Nothing is
# logged and the answer is 200. Whoever looks at the first bytes (is it gzip?) or reads a length before the rest
# keeps a body with a hole in it, also through Flask's `request.stream`. With a size, `read(N)` and again `read(M)`
# lose nothing, and Django asks for sizes. PEP 3333 says that `read` means what it does with files.
# In 2.8.7, `for line in wsgi.input` (in Django: `in request`) also ended after the first line.
#
# Output seen:
#   read(1), then read(): [b'{', b'']
#   readline(), then read(): [b'{"n": 1}\n', b'']
#   Flask, read(1), then read(): [b'{', b'']
#   read(1), then read(1000): [b'{', b'"n": 1}\n{"n": 2}\n']
#   of 1000000 bytes, by read(4), then read(): the first 4, then a hole, then the end
set -euo pipefail

folder=$(mktemp -d)
trap 'kill "${server:-}" 2>/dev/null || true; rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check granian==2.8.9 flask==3.1.3

cat > "$folder/application.py" <<'PYTHON'
from flask import Flask, request

WAYS = {
    "/read": lambda body: [body.read(1), body.read()],
    "/readline": lambda body: [body.readline(), body.read()],
    "/sizes": lambda body: [body.read(1), body.read(1000)],
    "/large": lambda body: [body.read(4), body.read()],
}
flask = Flask(__name__)
flask.post("/flask")(lambda: repr(WAYS["/read"](request.stream)))


def application(environ, start_response):
    if environ["PATH_INFO"] not in WAYS:
        return flask(environ, start_response)
    answer = repr(WAYS[environ["PATH_INFO"]](environ["wsgi.input"])).encode()
    start_response("200 OK", [("Content-Length", str(len(answer)))])
    return [answer]
PYTHON

port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
cd "$folder"
"$folder/venv/bin/granian" --interface wsgi --host 127.0.0.1 --port "$port" --http 1 --no-ws \
  --workers 1 --log-level error application:application &
server=$!

timeout 120 python3 - "$port" > "$folder/output" <<'PYTHON'
import ast
import socket
import sys
import time
from urllib.request import urlopen

BODY = b'{"n": 1}\n{"n": 2}\n'
LARGE = b"".join(b"%08d" % number for number in range(125_000))
address = ("127.0.0.1", int(sys.argv[1]))


def wait_for_the_server():
    for _ in range(200):
        try:
            return socket.create_connection(address, timeout=20).close()
        except OSError:
            time.sleep(0.1)
    raise SystemExit("the server did not start")


def read_by(way, body):
    with urlopen(f"http://127.0.0.1:{address[1]}/{way}", body, timeout=20) as answer:
        return ast.literal_eval(answer.read().decode())


wait_for_the_server()
print(f"read(1), then read(): {read_by('read', BODY)}")
print(f"readline(), then read(): {read_by('readline', BODY)}")
print(f"Flask, read(1), then read(): {read_by('flask', BODY)}")
print(f"read(1), then read(1000): {read_by('sizes', BODY)}")
first, rest = read_by("large", LARGE)
holed = first == LARGE[:4] and len(rest) < len(LARGE) - 4 and LARGE.endswith(rest)
told = "the first 4, then a hole, then the end" if holed else "something else"
print(f"of {len(LARGE)} bytes, by read(4), then read(): {told}")
PYTHON

cat "$folder/output"
diff "$folder/output" - <<'EXPECTED'
read(1), then read(): [b'{', b'']
readline(), then read(): [b'{"n": 1}\n', b'']
Flask, read(1), then read(): [b'{', b'']
read(1), then read(1000): [b'{', b'"n": 1}\n{"n": 2}\n']
of 1000000 bytes, by read(4), then read(): the first 4, then a hole, then the end
EXPECTED
