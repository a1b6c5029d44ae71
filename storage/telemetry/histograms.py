"""Histograms for what happens with every request.

Those of prometheus_client write to a mapped file at each observation, under a lock, which takes
4 µs, and a read by id takes 60 (`benchmarks/watching.py`). Here an observation is one append.
Whoever needs the sums adds up what waits, once for many observations.
"""

import os
import threading
from bisect import bisect_left
from collections import deque
from collections.abc import Mapping, Sequence

Labels = tuple[str, ...]

MOST_WAITING = 2000
"""Observations after which whoever makes the next one adds them up: where nobody else does."""

Sums = dict[Labels, list[float]]
"""By the values of labels: the count of each bucket, the count above them all, and the sum."""


class Histogram:
    """Durations in seconds, by labels. Thread-safe."""

    def __init__(
        self, name: str, meaning: str, labels: Sequence[str], bounds: Sequence[float]
    ) -> None:
        self.name = name
        self.meaning = meaning
        self.labels = tuple(labels)
        self.bounds = tuple(bounds)
        self.waiting: deque[tuple[Labels, float]] = deque()
        """What is not yet in the sums. To append to it is what `observe` does."""
        self.forget()
        HISTOGRAMS.append(self)

    def forget(self) -> None:
        """Start with nothing. In a forked child: the rest is its parent's."""
        self._adding = threading.Lock()
        self.waiting.clear()
        self._sums: Sums = {}

    def observe(self, labels: Labels, seconds: float) -> None:
        """Count a duration."""
        self.waiting.append((labels, seconds))
        if len(self.waiting) > MOST_WAITING:
            self.add_up()

    def add_up(self) -> None:
        """Add what waits to the sums."""
        bounds, waiting = self.bounds, self.waiting
        with self._adding:
            while waiting:  # others only append
                labels, seconds = waiting.popleft()
                found = self._sums.get(labels)
                if found is None:
                    self._sums[labels] = found = [0.0] * (len(bounds) + 2)
                found[bisect_left(bounds, seconds)] += 1
                found[-1] += seconds

    def sums(self) -> Sums:
        """All that was observed in this process. Nobody changes the lists that are returned."""
        self.add_up()
        with self._adding:
            return {labels: list(found) for labels, found in self._sums.items()}


def together(processes: Sequence[Mapping[Labels, Sequence[float]]]) -> Sums:
    """The sums of several processes."""
    found: Sums = {}
    for sums in processes:
        for labels, values in sums.items():
            known = found.get(labels)
            found[labels] = (
                list(values)
                if known is None
                else [a + b for a, b in zip(known, values, strict=True)]
            )
    return found


HISTOGRAMS: list[Histogram] = []
"""All there are, in the order in which they were made."""


def _forget_all() -> None:
    for histogram in HISTOGRAMS:
        histogram.forget()


os.register_at_fork(after_in_child=_forget_all)
