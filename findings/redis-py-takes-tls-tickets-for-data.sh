#!/usr/bin/env bash
# redis-py 8.1.0 with hiredis 3.5.0, Python 3.11, OpenSSL 3: with `protocol=2`, no password and `driver_info=None`
# nothing is read when a connection is made. A server that speaks TLS 1.3 sends session tickets at once; the pool
# looks whether anything can be read, sees the tickets, takes the connection for one with an answer that nobody has
# read, makes another, sees its tickets, and raises "Connection not ready" for a server that is well. Whether it
# does depends on which comes first. A good engineer would expect bytes of TLS to be told from an answer.
# With `protocol=3` the answer to HELLO is read behind the tickets, and no call fails.
#
# Output seen (100 new clients each, one PING; how many fail varies):
#   protocol 2: some fail, with "Connection not ready"
#   protocol 3: none fail
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check redis==8.1.0 hiredis==3.5.0 trustme==1.2.1

timeout 120 "$folder/venv/bin/python" - > "$folder/output" <<'PYTHON'
import socket
import ssl
import threading

import redis
import trustme
from redis.backoff import NoBackoff
from redis.retry import Retry

authority = trustme.CA()
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.minimum_version = ssl.TLSVersion.TLSv1_3
authority.issue_cert("localhost").configure_cert(context)
listener = socket.create_server(("localhost", 0))
port = listener.getsockname()[1]

HELLO = b"%1\r\n$5\r\nproto\r\n:3\r\n"


def serve(connection):
    """Answers each command as Redis would: HELLO, PING, and OK for the rest."""
    with connection, context.wrap_socket(connection, server_side=True) as client:
        while command := client.recv(65536):
            for name in (word.upper() for word in command.split(b"\r\n")):
                if name in (b"HELLO", b"PING", b"CLIENT"):
                    client.sendall({b"HELLO": HELLO, b"PING": b"+PONG\r\n"}.get(name, b"+OK\r\n"))


def quietly(connection):
    try:
        serve(connection)
    except OSError:
        pass


def accept():
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=quietly, args=(connection,), daemon=True).start()


threading.Thread(target=accept, daemon=True).start()
with authority.cert_pem.tempfile() as certificate:
    for protocol in (2, 3):
        errors = set()
        for _ in range(100):
            client = redis.Redis(
                host="localhost", port=port, ssl=True, ssl_ca_certs=certificate, protocol=protocol,
                driver_info=None, retry=Retry(NoBackoff(), 0), socket_timeout=5,
            )
            try:
                client.ping()
            except redis.ConnectionError as error:
                errors.add(str(error))
            client.close()
        told = f'some fail, with "{errors.pop()}"' if errors else "none fail"
        print(f"protocol {protocol}: {told}")
PYTHON

cat "$folder/output"
diff "$folder/output" - <<'EXPECTED'
protocol 2: some fail, with "Connection not ready"
protocol 3: none fail
EXPECTED
