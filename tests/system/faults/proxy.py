"""A proxy between the store and a DynamoDB server, which fails as it is told."""

import http.client
import json
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.clocks import Clock

WRITES = {"PutItem", "UpdateItem", "DeleteItem", "TransactWriteItems", "BatchExecuteStatement"}
NAMESPACE = "com.amazonaws.dynamodb.v20120810#"


class Proxy:
    """Forwards requests to the server at `port`. `url` is its own address.

    A fault is a function of an `Exchange`. `fail` gives faults for the next attempts of an
    operation, one each; `always` gives one for every attempt from then on.
    """

    def __init__(self, port: int) -> None:
        self._upstream = port
        self._lock = threading.Lock()
        self.released = threading.Event()
        self._server: _Server
        self._port = 0
        self.calm()
        self.open()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def calm(self) -> None:
        """No faults, nothing counted; what hangs ends."""
        self.released.set()
        self.released = threading.Event()
        self._next, self._always = {}, {}
        self.attempts, self.forwarded, self.effects = Counter(), Counter(), Counter()
        self.clock: Clock | None = None
        """Told of every attempt that hangs: its client waits for `patience` seconds."""
        self.patience = 0.0
        self._tokens = set()

    def fail(self, operation: str, *faults: Any) -> None:
        self._next[operation] = list(faults)

    def always(self, operation: str, fault: Callable[..., Any]) -> None:
        self._always[operation] = fault

    def open(self) -> None:
        """Listen, at the same port as before."""
        handler = type("Handler", (_Handler,), {"proxy": self})
        self._server = _Server(("127.0.0.1", self._port), handler)
        self._port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        """Refuse connections, and cut those there are."""
        self.released.set()
        self._server.shutdown()
        self._server.server_close()
        self._server.cut_connections()

    def fault_for(self, operation: str) -> Any:
        with self._lock:
            self.attempts[operation] += 1
            if waiting := self._next.get(operation):
                return waiting.pop(0)
            return self._always.get(operation) or self._always.get("*") or forward

    def forwards(self, operation: str, request: Any, status: int, answer: Any) -> None:
        """Count what the server has done: every effect of a write, not every request."""
        with self._lock:
            self.forwarded[operation] += 1
            if operation not in WRITES or status != 200:
                return
            if operation == "BatchExecuteStatement":
                done = sum("Error" not in each for each in answer["Responses"])
            elif (token := request.get("ClientRequestToken")) is not None:
                done = int(token not in self._tokens)
                self._tokens.add(token)
            else:
                done = 1
            self.effects[operation] += done


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, *arguments: Any) -> None:
        self._connections = set()
        super().__init__(*arguments)

    def process_request(self, request: Any, address: Any) -> None:
        self._connections.add(request)
        super().process_request(request, address)

    def cut_connections(self) -> None:
        for connection in self._connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, address: Any) -> None:
        """A client that has gone is no error here."""


class _Handler(BaseHTTPRequestHandler):
    proxy: Proxy
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # head and body in one packet

    def do_POST(self) -> None:
        exchange = Exchange(self, self.proxy)
        self.proxy.fault_for(exchange.operation)(exchange)

    def log_message(self, *arguments: Any) -> None:
        """Nothing."""


class Exchange:
    """A request of the store, and the means to answer it."""

    def __init__(self, handler: Any, proxy: Proxy) -> None:
        self._handler, self.proxy = handler, proxy
        self.operation = handler.headers["X-Amz-Target"].rpartition(".")[2]
        self._body = handler.rfile.read(int(handler.headers["Content-Length"]))
        self.request = json.loads(self._body)
        self.released = proxy.released

    def forward(self, request: Any = None) -> tuple[Any, ...]:
        """What the server says, as status and JSON."""
        body = self._body if request is None else json.dumps(request).encode()
        upstream = http.client.HTTPConnection("127.0.0.1", self.proxy._upstream, timeout=300)
        unchanged = ("X-Amz-Target", "Authorization", "X-Amz-Date", "Content-Type")
        upstream.request(
            "POST", "/", body, {name: self._handler.headers[name] for name in unchanged}
        )
        response = upstream.getresponse()
        answer = json.loads(response.read())
        upstream.close()
        self.proxy.forwards(self.operation, self.request, response.status, answer)
        return response.status, answer

    def answer(self, status: int, value: Any) -> None:
        self.send(status, json.dumps(value).encode())

    def send(self, status: int, body: Any, announced: Any = None) -> None:
        self._handler.send_response(status)
        self._handler.send_header("Content-Type", "application/x-amz-json-1.0")
        self._handler.send_header("Content-Length", str(announced or len(body)))
        self._handler.end_headers()
        self._handler.wfile.write(body)
        self._handler.wfile.flush()

    def cut(self) -> None:
        """Close the connection without an answer."""
        self._handler.close_connection = True
        with suppress(OSError):
            self._handler.connection.shutdown(socket.SHUT_RDWR)


# Faults.


def forward(exchange: Exchange) -> None:
    """None."""
    exchange.answer(*exchange.forward())


def error(status: int, code: str, message: str = "of a test") -> Any:
    """The server refuses."""

    def refuse(exchange: Exchange) -> None:
        exchange.answer(status, {"__type": NAMESPACE + code, "message": message})

    return refuse


throttle = error(400, "ThrottlingException")
exceed = error(400, "ProvisionedThroughputExceededException")
fail_before = error(500, "InternalServerError")


def fail_after(exchange: Exchange) -> None:
    """The server does it and says that it has failed."""
    exchange.forward()
    fail_before(exchange)


def hang(exchange: Exchange) -> None:
    """The server never answers."""
    if exchange.proxy.clock is not None:
        exchange.proxy.clock.passes(exchange.proxy.patience)
    exchange.released.wait()
    exchange.cut()


def hang_after(exchange: Exchange) -> None:
    """The server does it and never answers."""
    exchange.forward()
    hang(exchange)


def cut(exchange: Exchange) -> None:
    """The connection breaks before the server has read the request."""
    exchange.cut()


def cut_after(exchange: Exchange) -> None:
    """The server does it; its answer is lost."""
    exchange.forward()
    exchange.cut()


def cut_inside(exchange: Exchange) -> None:
    """The server does it; half of its answer arrives."""
    status, value = exchange.forward()
    body = json.dumps(value).encode() + b" " * 40
    exchange.send(status, body[: len(body) // 2], announced=len(body))
    exchange.cut()


def late(seconds: float) -> Any:
    """The server takes its time."""

    def wait(exchange: Exchange) -> None:
        time.sleep(seconds)
        forward(exchange)

    return wait


def unprocessed(some: Any) -> Any:
    """BatchGetItem leaves undone the keys that `some(keys)` gives."""

    def leave(exchange: Exchange) -> None:
        ((table, wanted),) = exchange.request["RequestItems"].items()
        left = some(wanted["Keys"])
        taken = [key for key in wanted["Keys"] if key not in left]
        answer = {"Responses": {table: []}, "UnprocessedKeys": {}}
        if taken:
            request = exchange.request | {"RequestItems": {table: wanted | {"Keys": taken}}}
            _, answer = exchange.forward(request)
        if left:
            answer["UnprocessedKeys"] = {table: wanted | {"Keys": left}}
        exchange.answer(200, answer)

    return leave


def unwritten(some: Any, code: str) -> Any:
    """BatchExecuteStatement fails with `code` at the statements that `some(statements)` gives."""

    def leave(exchange: Exchange) -> None:
        statements = exchange.request["Statements"]
        left = some(statements)
        taken = [statement for statement in statements if statement not in left]
        done = iter(())
        if taken:
            _, answer = exchange.forward(exchange.request | {"Statements": taken})
            done = iter(answer["Responses"])
        failed = {"Error": {"Code": code, "Message": "of a test"}}
        responses = [failed if statement in left else next(done) for statement in statements]
        exchange.answer(200, {"Responses": responses})

    return leave


def written_and_failed(exchange: Exchange) -> None:
    """BatchExecuteStatement writes all, and says of each that it has failed."""
    exchange.forward()
    failed = {"Error": {"Code": "InternalServerError", "Message": "of a test"}}
    exchange.answer(200, {"Responses": [failed] * len(exchange.request["Statements"])})


def everything(things: Any) -> Any:
    return things


def half(things: Any) -> Any:
    return things[: (len(things) + 1) // 2]


def some_at_random(things: Any) -> list[Any]:
    return [thing for thing in things if random.random() < 0.5]
