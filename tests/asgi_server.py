"""An HTTP server for the emulators of tests, as small as what botocore asks of one.

ministack's own takes most of the CPU of a call to DynamoDB, and the tests make a hundred thousand.
"""

import asyncio
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

App = Callable[[Any, Any, Any], Awaitable[None]]
BODILESS = (204, 304)


class Connection(asyncio.Protocol):
    """HTTP/1.1 with Content-Length both ways: one request after another on each connection."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._received = bytearray()
        self._answering: asyncio.Task[None] | None = None
        self._confirmed = False

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answering is not None:
            self._answering.cancel()

    def _next(self) -> None:
        """Answer the next request, if all of it is here and the one before is answered."""
        end = self._received.find(b"\r\n\r\n")
        if self._answering is not None or end < 0:
            return
        first, *lines = bytes(self._received[:end]).split(b"\r\n")
        headers = [(name.lower(), value.strip()) for name, _, value in _parts(lines)]
        fields = dict(headers)
        body_end = end + 4 + int(fields.get(b"content-length", 0))
        if len(self._received) < body_end:
            if b"expect" in fields and not self._confirmed:
                self._confirmed = True
                self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            return
        body = bytes(self._received[end + 4 : body_end])
        del self._received[:body_end]
        self._confirmed = False
        method, target, _ = first.decode("ascii").split(" ")
        path, _, query = target.partition("?")
        scope = {
            "type": "http",
            "method": method,
            "path": unquote(path),
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": headers,
        }
        self._answering = asyncio.get_running_loop().create_task(self._answer(scope, body))

    async def _answer(self, scope: dict[str, Any], body: bytes) -> None:
        head: dict[str, Any] = {}
        parts: list[bytes] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                head.update(message)
            else:
                parts.append(message["body"])

        await self._app(scope, receive, send)
        self._write(head, b"".join(parts), to_head=scope["method"] == "HEAD")
        self._answering = None
        self._next()

    def _write(self, head: dict[str, Any], body: bytes, *, to_head: bool) -> None:
        status = head["status"]
        lines = [
            b"HTTP/1.1 %d %s" % (status, HTTPStatus(status).phrase.encode()),
            b"date: " + formatdate(usegmt=True).encode(),  # by which the application sets its clock
        ]
        lines += [b"%s: %s" % field for field in head["headers"]]
        if status not in BODILESS and b"content-length" not in {
            name.lower() for name, _ in head["headers"]
        }:
            lines.append(b"content-length: %d" % len(body))
        content = b"" if to_head or status in BODILESS else body
        self._transport.write(b"\r\n".join([*lines, b"", content]))


def _parts(lines: list[bytes]) -> Any:
    return (line.partition(b":") for line in lines)


async def _serve(app: App, host: str, port: int) -> None:
    received: asyncio.Queue[Any] = asyncio.Queue()
    started: asyncio.Queue[Any] = asyncio.Queue()
    received.put_nowait({"type": "lifespan.startup"})
    life = asyncio.ensure_future(app({"type": "lifespan"}, received.get, started.put))
    await started.get()
    server = await asyncio.get_running_loop().create_server(lambda: Connection(app), host, port)
    async with server:
        await asyncio.gather(server.serve_forever(), life)


def serve(app: App, host: str, port: int) -> None:
    """Serve an ASGI application until the process is killed."""
    asyncio.run(_serve(app, host, port))
