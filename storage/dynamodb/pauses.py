"""Going on trying, for a bounded time."""

import random
import time

SECONDS = 6.0
"""How long an operation of several requests goes on."""

FIRST_PAUSE = 0.05
LONGEST_PAUSE = 1.0


class Pauses:
    """Waits longer and longer between attempts, at random (full jitter), up to a deadline.

    https://aws.amazon.com/builders-library/timeouts-retries-and-backoff-with-jitter/
    """

    def __init__(self) -> None:
        self._deadline = time.monotonic() + SECONDS
        self._longest = FIRST_PAUSE

    def over(self) -> bool:
        """Whether the time is up."""
        return time.monotonic() > self._deadline

    def wait(self) -> bool:
        """Wait, or say at once that the time is up."""
        pause = random.uniform(0, self._longest)  # noqa: S311  (spreads load, guards nothing)
        if time.monotonic() + pause > self._deadline:
            return False
        time.sleep(pause)
        self._longest = min(2 * self._longest, LONGEST_PAUSE)
        return True

    def progressed(self) -> None:
        """Start again with short pauses."""
        self._longest = FIRST_PAUSE
