"""A DynamoDB that answers as a test wants, and clients of it."""

import http.server
import json
import threading
import zlib

from storage.dynamodb import mirror
from storage.dynamodb.client import Client
from tests import clouds


class Server:
    """A DynamoDB that has one item, and notes requests. `answers` go first."""

    def __init__(self, context=None):
        self.requests, self.answers = [], []
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                server.requests.append(dict(self.headers) | {"body": body})
                status, body, headers = server.answers.pop(0) if server.answers else answer()
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        if context:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self):
        self._server.shutdown()
        self._server.server_close()


def answer(status=200, **headers):
    body = b'{"Item": {"interaction_id": {"S": "i"}}}'
    return status, body, {"x-amz-crc32": str(zlib.crc32(body))} | headers


def error(code, status=400, **headers):
    return status, json.dumps({"__type": f"x#{code}", "message": "No."}).encode(), headers


def client_of(url, region=clouds.REGION):
    return Client(mirror.bound("unused", region, url, 2), 2)


def read(client):
    return client.call("GetItem", Key={"interaction_id": {"S": "i"}})


def client_at(server, scheme="http", host="127.0.0.1"):
    return client_of(f"{scheme}://{host}:{server.port}")


def botocore_of(client):
    """What stands in front of botocore's client."""
    return client._connection.client
