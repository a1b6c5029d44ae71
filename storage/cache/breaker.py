"""A circuit breaker, so that requests do not wait for a server that does not answer.

When a server hangs, every request waits for the whole timeout, and soon every thread waits. The
circuit breaker stops asking such a server for a while, then lets one request probe it.
https://learn.microsoft.com/azure/architecture/patterns/circuit-breaker
"""

import threading
import time

FAILURES = 3
"""Consecutive failures that open the circuit."""

PAUSE = 1.0
"""Seconds without a request after the circuit opened, and after each failed probe."""


class CircuitBreaker:
    """Counts the failures of one server in this process. Thread-safe.

    `longest` is the longest time in seconds that a call can take. For so long, a probe that has
    not ended keeps others from probing, too.
    """

    def __init__(self, longest: float) -> None:
        self._longest = longest
        self._lock = threading.Lock()
        self._failures = 0
        self._closed_from = 0.0

    @property
    def is_open(self) -> bool:
        """Whether the server is not asked at present."""
        return self._failures >= FAILURES

    def admits(self) -> bool:
        """Whether to ask the server now. If True, call `succeeded` or `failed` afterwards."""
        if self._failures < FAILURES:
            return True
        with self._lock:
            now = time.monotonic()
            if now < self._closed_from:
                return False
            self._closed_from = now + self._longest  # until the probe has reported
            return True

    def succeeded(self) -> None:
        """Report that the server answered."""
        if self._failures:
            with self._lock:
                self._failures, self._closed_from = 0, 0.0

    def failed(self) -> bool:
        """Report that the server did not answer. Returns whether that opened the circuit."""
        with self._lock:
            self._failures += 1
            self._closed_from = time.monotonic() + PAUSE
            return self._failures == FAILURES
