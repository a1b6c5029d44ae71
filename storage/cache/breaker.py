"""Not waiting for a server that does not answer.

A server that hangs costs each request its whole timeout, and soon every thread waits. The
circuit breaker asks such a server no more for a while and then lets one request probe it.
https://learn.microsoft.com/azure/architecture/patterns/circuit-breaker
"""

import threading
import time

FAILURES = 3
"""Failures in a row that open the circuit."""

PAUSE = 1.0
"""Seconds for which nothing is asked then, and after each probe that failed."""


class CircuitBreaker:
    """Counts the failures of one server in this process. Threads share it.

    `longest` is how long a call to it can take, in seconds: a probe that has not ended keeps
    others from probing, too.
    """

    def __init__(self, longest: float) -> None:
        self._longest = longest
        self._lock = threading.Lock()
        self._failures = 0
        self._closed_from = 0.0

    @property
    def is_open(self) -> bool:
        """Whether the server is given up for the time being."""
        return self._failures >= FAILURES

    def admits(self) -> bool:
        """Whether to ask the server now. Whoever is admitted says `succeeded` or `failed` then."""
        if self._failures < FAILURES:
            return True
        with self._lock:
            now = time.monotonic()
            if now < self._closed_from:
                return False
            self._closed_from = now + self._longest  # unless the probe says more before
            return True

    def succeeded(self) -> None:
        """The server answered."""
        if self._failures:
            with self._lock:
                self._failures, self._closed_from = 0, 0.0

    def failed(self) -> bool:
        """The server did not answer. Whether that has opened the circuit."""
        with self._lock:
            self._failures += 1
            self._closed_from = time.monotonic() + PAUSE
            return self._failures == FAILURES
