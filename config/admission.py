"""Which requests a server process takes on, so that slow clients keep nobody else waiting.

Granian gives a request a thread as soon as it has its headers. A thread that then waits for the
body cannot be interrupted, and one that sends a stream waits for its reader. So a process has
many threads, which cost memory only, and most of them may only wait: `THREADS` work at the same
time, those that wait are limited by what they wait for, and what is left is for health checks.
Whoever finds no place is told so at once, without being read. `config.stalled` ends the waiting.

Writers may have to wait for another program that has SQLite's write lock. So they get three
quarters of the places to work, and reads go on in the others. Where a read of many interactions
waits for nobody, more than two at a time are no faster: each statement lets another thread have the
interpreter, and 16 threads spent as much time on taking turns as on the reads
(docs/decisions/0036). A read of one is over sooner than a turn would come (0057).
"""

import io
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from typing import Any

from django.conf import settings
from django.db import close_old_connections

from chat.api.bodies import BATCH_BODY_LIMIT
from chat.api.problems import Unavailable
from chat.current import note_read
from chat.ingest.bodies import UNPACKED_LIMIT

READINESS_CHECKS = 16
"""Readiness checks. Each waits for the store."""

REFUSALS = 32
"""Threads that are left for `/healthz`, and to refuse requests."""

REQUESTS = settings.SERVER_THREADS - READINESS_CHECKS - REFUSALS
"""Requests at the same time, in whatever state, health checks aside."""

API_BODIES = 128
"""Of these, calls that wait for their body. Their callers have shown a key."""

FORMS = 64
"""Requests that wait for the body of a form. Anybody may send one."""

FORMS_OF_ONE = 8
"""Of these, requests from one address, so that nobody keeps all others from logging in."""

EXPORTS = 16
"""Exports. Each waits for its reader."""

LARGE = 1024 * 1024
"""Bytes of a body or a response that is large. Few of them fit into the memory of a process."""

LARGE_BODIES = max(UNPACKED_LIMIT, BATCH_BODY_LIMIT)
"""Bytes of all large bodies at the same time. They wait whole until one after the other is saved,
which takes about six times its size: otherwise two batches of 15 MB need more than 256 MB."""

INGEST_BODIES = 2
"""Bodies of tools that are taken in at the same time."""

INGEST = ("/api/otlp/", "/api/public/otel/", "/api/v1/ingest/")
"""How the paths begin to which tools send."""

LARGE_RESPONSES = 32
"""Large responses. Each waits for its reader."""

FILES = 64
"""Static files that are being sent. Anybody may ask for one."""

SAFE_METHODS = ("GET", "HEAD", "OPTIONS", "TRACE")
"""Methods of requests that write nothing (RFC 9110, section 9.2.1)."""

API = "/api/v1/"

INTERACTIONS = "/api/v1/interactions/"

USERS = "/api/v1/users/"

LOOKUP = ("POST", "/api/v1/interactions/lookup/")
"""A read whose question is in its body."""

SEARCH = "/api/v1/interactions/search/"
"""A read that may take two seconds, so that other reads keep a place beside it."""

BUSY_SECONDS = 2
"""When a client that found no place may try again."""


class Room:
    """A number of places, which threads enter and leave."""

    def __init__(self, places: int) -> None:
        self.places = places
        self._free: SimpleQueue[None] = SimpleQueue()
        for _ in range(places):
            self._free.put(None)

    def wait(self) -> None:
        """Enter as soon as there is a place."""
        self._free.get()

    def enter(self) -> bool:
        """Enter if there is a place now. Returns whether there was one."""
        try:
            self._free.get_nowait()
        except Empty:
            return False
        return True

    def leave(self) -> None:
        """Give a place back."""
        self._free.put(None)

    @property
    def in_use(self) -> int:
        """How many places are taken."""
        return self.places - self._free.qsize()


class Queue(Room):
    """A room whose places go to those that wait, in the order in which they came.

    Without an order, whoever leaves may be the next to enter, and some wait five times as long.
    """

    def __init__(self, places: int) -> None:
        self._places = places
        self._line: deque[threading.Lock] = deque()
        self._mutex = threading.Lock()

    def wait(self) -> None:
        """Enter as soon as it is this thread's turn."""
        with self._mutex:
            if self._places:
                self._places -= 1
                return
            turn = threading.Lock()
            turn.acquire()
            self._line.append(turn)
        turn.acquire()

    def enter(self) -> bool:
        """Enter if there is a place now. Returns whether there was one."""
        with self._mutex:
            if not self._places:
                return False
            self._places -= 1
            return True

    def leave(self) -> None:
        """Give a place to the first in line, or back."""
        with self._mutex:
            if self._line:
                self._line.popleft().release()
            else:
                self._places += 1


class Volume:
    """A number of bytes, which bodies share."""

    def __init__(self, size: int) -> None:
        self._free = size
        self._lock = threading.Lock()

    def part(self, size: int) -> "Part":
        """The place of a body of this size."""
        return Part(self, size)

    def take(self, size: int) -> bool:
        """Take so many bytes if they are free. Returns whether they were."""
        with self._lock:
            if size > self._free:
                return False
            self._free -= size
            return True

    def give_back(self, size: int) -> None:
        """Let others have them."""
        with self._lock:
            self._free += size


class Part:
    """The room that one body needs in a `Volume`."""

    def __init__(self, volume: Volume, size: int) -> None:
        self._volume = volume
        self._size = size

    def enter(self) -> bool:
        """Take the bytes if they are free now. Returns whether they were."""
        return self._volume.take(self._size)

    def leave(self) -> None:
        """Give them back."""
        self._volume.give_back(self._size)


def wait(rooms: Sequence[Room]) -> None:
    """Enter all of these, as soon as there are places."""
    for room in rooms:
        room.wait()


def leave(rooms: Sequence[Room | Part]) -> None:
    """Give a place back in each of these."""
    for room in rooms:
        room.leave()


class Admission:
    """The places of a process, by what they are for."""

    def __init__(self, threads: int, reads: int) -> None:
        self.work = Room(threads)
        self._reads = Queue(reads)
        self._searches = Queue(1)
        self._writes = Room(max(1, threads * 3 // 4))
        self.requests = Room(REQUESTS)
        self.forms = Room(FORMS)
        self.exports = Room(EXPORTS)
        self.large_responses = Room(LARGE_RESPONSES)
        self._large_bodies = Volume(LARGE_BODIES)
        self._large_writes = Queue(1)
        self._ingest = Room(INGEST_BODIES)
        self._forms_of: dict[str, int] = {}
        self._forms_lock = threading.Lock()
        self.files = Room(FILES)
        self.readiness_checks = Room(READINESS_CHECKS)
        self._api_bodies = Room(API_BODIES)
        self._waiting: dict[int, float] = {}

    def rooms(self, environ: dict[str, Any]) -> tuple[Room | Part, ...]:
        """Where a request needs a place. `/healthz` needs none."""
        path = environ["PATH_INFO"]
        if path.startswith("/api/"):
            if path.startswith(USERS) and path.endswith("/export/"):
                return self.requests, self.exports
            if "CONTENT_LENGTH" not in environ and "HTTP_TRANSFER_ENCODING" not in environ:
                return (self.requests,)
            size = _size(environ)
            large = (self._large_bodies.part(size),) if size > LARGE else ()
            return self.requests, *large
        if path.startswith("/static/"):
            return self.requests, self.files
        if path == "/readyz":
            return (self.readiness_checks,)
        return () if path == "/healthz" else (self.requests,)

    def places_to_work(self, environ: dict[str, Any]) -> tuple[Room, ...]:
        """Where a request needs a place while it works. All wait for them in the same order."""
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        if path == SEARCH and method in SAFE_METHODS:
            return self._searches, self._reads, self.work
        if method in SAFE_METHODS or (method, path) == LOOKUP:
            return (self._reads, self.work) if _reads_many(path) else (self.work,)
        large = (self._large_writes,) if _size(environ) > LARGE or _may_grow(environ) else ()
        if path.startswith(INGEST):
            return *large, self._ingest, self._writes, self.work
        return *large, self._writes, self.work

    def enter_form(self, address: str) -> bool:
        """Take a place for a form from this address. Returns whether there was one."""
        with self._forms_lock:
            number = self._forms_of.get(address, 0)
            if number >= FORMS_OF_ONE or not self.forms.enter():
                return False
            self._forms_of[address] = number + 1
            return True

    def leave_form(self, address: str) -> None:
        """Give it back."""
        with self._forms_lock:
            self.forms.leave()
            self._forms_of[address] -= 1
            if not self._forms_of[address]:
                del self._forms_of[address]

    def in_use(self) -> dict[str, tuple[int, int]]:
        """How many requests there are, and how many of them work; each with its limit."""
        rooms = {"requests": self.requests, "work": self.work}
        return {name: (room.in_use, room.places) for name, room in rooms.items()}

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """In this block, the thread waits for a client."""
        thread = threading.get_ident()
        self._waiting[thread] = time.monotonic()
        try:
            yield
        finally:
            del self._waiting[thread]

    def longest_wait(self) -> float:
        """For how many seconds the longest of those that wait for a body has waited."""
        started = min(list(self._waiting.values()), default=None)
        return 0.0 if started is None else time.monotonic() - started

    def read_while_others_work(self, body: Any, size: int, places: tuple[Room, ...]) -> bytes:
        """The next bytes of the body of an API call, which has begun to work in `places`.

        Meanwhile it holds neither these nor a database connection. Raises Unavailable if too many
        wait for their bodies.
        """
        if not self._api_bodies.enter():
            raise Unavailable(
                "Too many clients are sending at this moment.", retry_after=BUSY_SECONDS
            )
        close_old_connections()
        leave(places)
        try:
            with self.waiting():
                found: bytes = body.read(size)
            note_read(len(found))
            return found
        finally:
            wait(places)
            self._api_bodies.leave()


class ApiBody:
    """`wsgi.input` of an API call. Its view reads it once it knows the caller."""

    def __init__(self, body: Any, admission: Admission, places: tuple[Room, ...]) -> None:
        self._body = body
        self._admission = admission
        self._places = places

    def read(self, size: int) -> bytes:
        """At most `size` bytes; fewer only if the client has left. Raises Unavailable."""
        return self._admission.read_while_others_work(self._body, size, self._places)

    def readline(self, size: int) -> bytes:
        """Not supported: views read the body whole."""
        raise io.UnsupportedOperation("readline")


def may_be_refused(environ: dict[str, Any]) -> bool:
    """Whether a request that was answered can still be refused: it has changed nothing."""
    method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
    return method == "GET" or (method, path) == LOOKUP


def _reads_many(path: str) -> bool:
    """Whether a read of the API may be of many interactions, and not of one."""
    return path.startswith(API) and (path == INTERACTIONS or not path.startswith(INTERACTIONS))


def _size(environ: dict[str, Any]) -> int:
    """The bytes of a body of the API that will be read, by its headers."""
    if "HTTP_TRANSFER_ENCODING" in environ:  # only what tools send is read then
        return UNPACKED_LIMIT if environ["PATH_INFO"].startswith(INGEST) else 0
    size = int(environ.get("CONTENT_LENGTH") or 0)
    return size if size <= LARGE_BODIES else 0  # refused unread


def _may_grow(environ: dict[str, Any]) -> bool:
    """Whether a small body can be large when it is unpacked."""
    return environ["PATH_INFO"].startswith(INGEST) and "HTTP_CONTENT_ENCODING" in environ


def too_many_senders() -> Unavailable:
    """The error for a body for which there is no place."""
    detail = "Too many clients are sending at this moment."
    return Unavailable(detail, retry_after=BUSY_SECONDS)
