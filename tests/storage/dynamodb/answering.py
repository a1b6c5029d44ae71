"""A DynamoDB that answers as a test wants, and clients of it."""

import http.server
import json
import threading
import zlib
from typing import Any

from storage.dynamodb import mirror
from storage.dynamodb.client import Client
from tests import clouds

Answer = tuple[int, bytes, dict[str, str]]
"""Status, body and headers."""


class Server:
    """A DynamoDB that has one item, and notes requests. `answers` go first."""

    def __init__(self, context: Any = None) -> None:
        self.requests: list[dict[str, Any]] = []
        self.answers: list[Answer] = []
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                server.requests.append(dict(self.headers) | {"body": body})
                status, body, headers = server.answers.pop(0) if server.answers else answer()
                self.send_response_only(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        if context:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def answer(status: int = 200, **headers: str) -> Answer:
    body = b'{"Item": {"interaction_id": {"S": "i"}}}'
    return status, body, {"x-amz-crc32": str(zlib.crc32(body))} | headers


def error(code: str, status: int = 400, **headers: str) -> Answer:
    return status, json.dumps({"__type": f"x#{code}", "message": "No."}).encode(), headers


def client_of(url: str, region: str = clouds.REGION) -> Client:
    return Client(mirror.bound("unused", region, url, 2), 2)


def read(client: Client) -> dict[str, Any]:
    return client.call("GetItem", Key={"interaction_id": {"S": "i"}})


def client_at(server: Any, scheme: str = "http", host: str = "127.0.0.1") -> Client:
    return client_of(f"{scheme}://{host}:{server.port}")


def botocore_of(client: Client) -> Any:
    """What stands in front of botocore's client."""
    return client._connection.client
