"""Pauses between attempts, for a limited time."""

import random
import time

SECONDS = 6.0
"""How long an operation of several requests is continued."""

FIRST_PAUSE = 0.05
LONGEST_PAUSE = 1.0


class Pauses:
    """Exponentially growing, random pauses (full jitter) up to a deadline.

    https://aws.amazon.com/builders-library/timeouts-retries-and-backoff-with-jitter/
    """

    def __init__(self, deadline: float | None = None) -> None:
        """The deadline is a time of `time.monotonic`, by default in SECONDS. Not thread-safe."""
        self.deadline = time.monotonic() + SECONDS if deadline is None else deadline
        self._longest = FIRST_PAUSE

    def over(self) -> bool:
        """Whether the deadline has passed."""
        return time.monotonic() > self.deadline

    def wait(self) -> bool:
        """Wait before the next attempt. Returns False at once if the deadline would pass."""
        pause = random.uniform(0, self._longest)  # noqa: S311  (spreads load, guards nothing)
        if time.monotonic() + pause > self.deadline:
            return False
        time.sleep(pause)
        self._longest = min(2 * self._longest, LONGEST_PAUSE)
        return True

    def progressed(self) -> None:
        """Report progress: the next pauses are short again."""
        self._longest = FIRST_PAUSE
