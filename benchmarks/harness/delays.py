"""A proxy that delays requests as a network does, and a client that adds next to nothing."""

import contextlib
import multiprocessing
import socket
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection as Pipe
from typing import Any, Self

PINGS = 300
CORRECTIONS = 5
CLOSE_ENOUGH = 0.03

Ping = Callable[[int], contextlib.AbstractContextManager[Callable[[], Any]]]


class Proxy:
    """Passes bytes on to `port`, the first of each request after a delay.

    A process of its own with two threads for each connection, because asyncio rounds what it
    waits up to whole milliseconds.
    """

    def __init__(self, port: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.target = port
        self._delay = context.Value("d", 0.0, lock=False)
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=_pass_all, args=(port, self._delay, other))
        self._process.daemon = True

    def __enter__(self) -> Self:
        self._process.start()
        self.port: int = self._pipe.recv()
        return self

    def __exit__(self, *error: object) -> None:
        self._process.terminate()
        self._process.join()

    def wait(self, seconds: float) -> None:
        """From now on each request waits so long."""
        self._delay.value = seconds


def _pass_all(target: int, delay: Any, pipe: Pipe) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    pipe.send(listener.getsockname()[1])
    while True:
        client, _ = listener.accept()
        server = socket.create_connection(("127.0.0.1", target))
        for each in (client, server):
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        answered = threading.Event()  # what comes after an answer is a new request
        answered.set()
        for function in (_pass_requests, _pass_answers):
            arguments = (client, server, answered, delay)
            threading.Thread(target=function, args=arguments, daemon=True).start()


def _pass_requests(
    client: socket.socket, server: socket.socket, answered: threading.Event, delay: Any
) -> None:
    with contextlib.suppress(OSError):
        while data := client.recv(65536):
            if answered.is_set():
                answered.clear()
                time.sleep(delay.value)
            server.sendall(data)
        server.shutdown(socket.SHUT_WR)


def _pass_answers(
    client: socket.socket, server: socket.socket, answered: threading.Event, delay: Any
) -> None:
    with client, server, contextlib.suppress(OSError):
        while data := server.recv(65536):
            answered.set()
            client.sendall(data)


def calibrate(name: str, proxy: Proxy, wanted: float, ping: Ping) -> None:
    """Make it add `wanted` seconds, its own work included; print what it adds."""
    delay = wanted
    for _ in range(CORRECTIONS):
        proxy.wait(delay)
        added = added_by(proxy, ping)
        if abs(added - wanted) < CLOSE_ENOUGH * wanted:
            break
        delay = max(0.0, delay + wanted - added)
    print(f"The proxy before {name} adds {added * 1000:.2f} ms to each request.", flush=True)


def added_by(proxy: Proxy, ping: Ping) -> float:
    """Seconds that a round trip takes longer through the proxy, in the median."""
    times: list[list[float]] = [[], []]
    with ping(proxy.target) as direct, ping(proxy.port) as through:
        for _ in range(PINGS):
            for each, call in zip(times, (direct, through), strict=True):
                started = time.perf_counter()
                call()
                each.append(time.perf_counter() - started)
    return statistics.median(times[1]) - statistics.median(times[0])


@contextlib.contextmanager
def redis_ping(port: int) -> Iterator[Callable[[], Any]]:
    """A PING, on a connection of its own."""
    with socket.create_connection(("127.0.0.1", port)) as connection:

        def ping() -> None:
            connection.sendall(b"PING\r\n")
            if connection.recv(100) != b"+PONG\r\n":
                raise RuntimeError("Redis does not answer.")

        yield ping


@contextlib.contextmanager
def http_ping(port: int) -> Iterator[Callable[[], Any]]:
    """Any request, on a connection of its own."""
    connection = Connection(port)
    yield lambda: connection.ask(b"GET /_ministack/health HTTP/1.1\r\nHost: localhost\r\n\r\n")
    connection.close()


class Connection:
    """Asks over one connection that stays open, with next to no work of its own."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def close(self) -> None:
        """The server sees the end."""
        self._socket.close()

    def ask(self, request: bytes) -> tuple[float, int, bytes]:
        """Seconds from sending to the last byte, status and body."""
        started = time.perf_counter()
        self._socket.sendall(request)
        head, end, body = b"", b"", b""
        while not end:
            head, end, body = self._more(head + end + body).partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        while len(body) < length:
            body = self._more(body)
        return time.perf_counter() - started, int(head.split(b" ", 2)[1]), body

    def _more(self, data: bytes) -> bytes:
        received = self._socket.recv(65536)
        if not received:
            raise ConnectionError(f"The server hung up after {data!r}")
        return data + received
