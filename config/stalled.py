"""Ends connections on which a client sends or takes next to nothing.

Granian has a time limit for headers and for idle connections, and none for a body that does not
come or a response that is not taken. Its WSGI interface can neither interrupt the thread that
waits for such a client nor say which connection is its. So a thread of our own looks at all
connections of this process now and then, by what Linux counts for each (TCP_INFO), and shuts down
the stalled ones. The waiting thread then sees that the client has left.

Other systems do not count that. There, the limits of `config.admission` hold, but a place is free
again only when the client leaves.
"""

import logging
import os
import select
import signal
import socket
import struct
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from config.admission import Admission

logger = logging.getLogger(__name__)

BYTES_PER_SECOND = 500
"""A client that sends or takes less is stalled."""

STOP_SECONDS = 2
"""The time for the same when the server stops."""

LAST_SECONDS = 6
"""When the server stops, the time after which every connection is ended. A client that sends a
little more than a stalled one would keep a worker until that is killed (`KILL_SECONDS` of `serve`).
"""

TCP_INFO_BYTES = 148

LOOKS = 4
"""Looks in the time that a client has."""


class Counts(NamedTuple):
    """What Linux says about a connection."""

    taken: int
    """Bytes that the client has confirmed."""
    received: int
    """Bytes that the client has sent."""
    untaken: int
    """More than 0 if something that was sent is not confirmed yet."""

    @classmethod
    def of(cls, connection: socket.socket) -> "Counts":
        """The counts of `struct tcp_info` in linux/tcp.h."""
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TCP_INFO_BYTES)
        info = info.ljust(TCP_INFO_BYTES, b"\0")  # old kernels have less to say
        (unacked,) = struct.unpack_from("=I", info, 24)
        taken, received, unsent = struct.unpack_from("=QQ8xI", info, 120)
        return cls(taken, received, unacked + unsent)


@dataclass(frozen=True)
class Mark:
    """From when on a connection has to move a number of bytes."""

    time: float
    counts: Counts


class Stalled:
    """Finds the stalled connections to a port, from one look to the next."""

    def __init__(self, admission: "Admission", port: int) -> None:
        self._admission = admission
        self._port = port
        self._marks: dict[object, Mark] = {}

    def end_all(self) -> int:
        """Shut down all connections. Returns how many."""
        ended = 0
        for connection in connections_to(self._port):
            with connection, suppress(OSError):  # it has ended meanwhile
                connection.shutdown(socket.SHUT_RDWR)
                ended += 1
        return ended

    def end(self, seconds: float) -> int:
        """Shut down the connections that were stalled for so long. Returns how many."""
        now, body_waited = time.monotonic(), self._admission.longest_wait()
        ended, marks = 0, {}
        for connection in connections_to(self._port):
            with connection:
                try:
                    peer, counts = connection.getpeername(), Counts.of(connection)
                except OSError:  # it has ended meanwhile
                    continue
                mark = self._marks.get(peer)
                if mark is None or not _is_stalled(mark.counts, counts, seconds):
                    mark = Mark(now, counts)
                elif now - mark.time >= seconds and (counts.untaken or body_waited >= seconds):
                    with suppress(OSError):
                        connection.shutdown(socket.SHUT_RDWR)
                    ended += 1
                marks[peer] = mark
        self._marks = marks
        return ended


def _is_stalled(before: Counts, now: Counts, seconds: float) -> bool:
    """Whether too little has moved. It has, too, if granian closes an idle connection meanwhile."""
    enough = BYTES_PER_SECOND * seconds
    if now.untaken:
        return 0 <= now.taken - before.taken < enough
    return now.taken == before.taken and 0 <= now.received - before.received < enough


def connections_to(port: int) -> Iterator[socket.socket]:
    """The connections of this process to its port, each as a duplicate that can be closed."""
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208  (thousands, several times a minute)
        with suppress(OSError):  # it has ended meanwhile
            if not os.readlink(f"/proc/self/fd/{name}").startswith("socket:"):  # noqa: PTH115
                continue
            duplicate = socket.socket(fileno=os.dup(int(name)))
            if _is_connection_to(port, duplicate):
                yield duplicate
            else:
                duplicate.close()


def _is_connection_to(port: int, found: socket.socket) -> bool:
    return (
        found.family in (socket.AF_INET, socket.AF_INET6)
        and found.type == socket.SOCK_STREAM
        and found.getsockname()[1] == port
        and not found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    )


def watch(admission: "Admission", port: int, seconds: float) -> None:
    """Start the thread that ends stalled connections. Call it from the main thread."""
    if sys.platform != "linux":
        return
    signalled, write_end = os.pipe()
    os.set_blocking(write_end, False)
    signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
    stalled = Stalled(admission, port)
    threading.Thread(
        target=_watch, args=(stalled, signalled, seconds), name="stalled", daemon=True
    ).start()


def _watch(stalled: Stalled, signalled: int, seconds: float) -> None:
    last = None  # of a server that stops
    while True:
        if last is None:
            readable, _, _ = select.select([signalled], [], [], seconds / LOOKS)
            if readable and signal.SIGTERM in os.read(signalled, 64):
                last, seconds = time.monotonic() + LAST_SECONDS, min(seconds, STOP_SECONDS)
        else:
            time.sleep(seconds / LOOKS)
        try:
            if last is not None and time.monotonic() >= last:
                ended = stalled.end_all()
                logger.warning("The server stops, so %s connections were closed.", ended)
                return
            ended = stalled.end(seconds)
        except OSError as error:
            logger.warning("The connections cannot be examined: %s.", error)
            continue
        if ended:
            logger.warning(
                "%s stalled connections were closed: less than %s bytes a second for %g s.",
                ended,
                BYTES_PER_SECOND,
                seconds,
            )
