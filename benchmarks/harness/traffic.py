"""Clients that go on while something else is measured, and how long each had to wait at most."""

import http.client
import itertools
import json
import threading
import time
from dataclasses import dataclass, field
from typing import Any, Self

PAUSE = 0.1
"""Seconds between two requests of a client."""

TIMEOUT_SECONDS = 120


@dataclass
class Waits:
    """The longest wait for an answer in seconds, and how many answers were no success."""

    longest: float = 0.0
    requests: int = 0
    failed: dict[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        failed = "".join(f", {count} x {what}" for what, count in sorted(self.failed.items()))
        return f"{self.longest:.2f} s{failed}"


class Traffic:
    """So many clients that save, and so many that read by id and list, until the block ends.

    What they save is of the users `traffic-0`, `traffic-1`, ...
    """

    def __init__(
        self, port: int, key: str, ids: list[str], users: list[str], *, writers: int, readers: int
    ) -> None:
        self.writers, self.readers = Waits(), Waits()
        self._port = port
        self._headers = {"Authorization": f"Api-Key {key}", "Content-Type": "application/json"}
        self._paths = [f"/api/v1/interactions/{identifier}/" for identifier in ids]
        self._paths += [f"/api/v1/users/{user}/interactions/?limit=50" for user in users]
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._write, args=(number,)) for number in range(writers)
        ] + [threading.Thread(target=self._read, args=(number,)) for number in range(readers)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _write(self, client: int) -> None:
        body = {
            "user_id": f"traffic-{client}",
            "message": "What goes on while another one works?",
            "response": "All that went on before. " * 20,
            "model_used": "model-1",
        }
        self._go_on(self.writers, itertools.repeat(("POST", "/api/v1/interactions/", body)))

    def _read(self, client: int) -> None:
        paths = itertools.cycle(self._paths[client:] + self._paths[:client])
        self._go_on(self.readers, (("GET", path, None) for path in paths))

    def _go_on(self, waits: Waits, requests: Any) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=TIMEOUT_SECONDS)
        for method, path, body in requests:
            content = None if body is None else json.dumps(body)
            started = time.monotonic()
            try:
                connection.request(method, path, content, self._headers)
                response = connection.getresponse()
                response.read()
                problem = "" if response.status < 300 else str(response.status)
            except (OSError, http.client.HTTPException) as error:
                problem = type(error).__name__
                connection.close()
            self._count(waits, time.monotonic() - started, problem)
            if self._ended.wait(PAUSE):
                break
        connection.close()

    def _count(self, waits: Waits, seconds: float, problem: str) -> None:
        with self._lock:
            waits.requests += 1
            waits.longest = max(waits.longest, seconds)
            if problem:
                waits.failed[problem] = waits.failed.get(problem, 0) + 1
