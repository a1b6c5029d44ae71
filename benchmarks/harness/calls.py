"""Calls in this process beside the same by hand: CPU of one call, in turns."""

import time
from collections.abc import Callable, Mapping
from statistics import median
from typing import Any

from harness.ratios import Ratios, ratio, table

PAGE = 50
BATCH = 100
MESSAGE = "How do I keep a list sorted while I insert into it? " * 3
RESPONSE = "Use bisect.insort, which finds the place in O(log n) and inserts there. " * 25

Operation = Callable[[], Any]
Figures = dict[str, list[tuple[float, float]]]
"""By operation, the CPU microseconds of one call in each round: ours, and by hand."""


def measure(
    ours: Mapping[str, Operation],
    by_hand: Mapping[str, Operation],
    counts: Mapping[str, int],
    rounds: int,
) -> Figures:
    """All rounds. An operation without a match by hand, `get as JSON`, is beside `get`."""
    figures: Figures = {name: [] for name in ours}
    for _ in range(rounds + 1):
        for name, operation in ours.items():
            plain = name.partition(" as ")[0]
            count = counts[plain]
            figures[name].append((cost(operation, count), cost(by_hand[plain], count)))
    return {name: pairs[1:] for name, pairs in figures.items()}  # the first warms up


def share_of(counts: Mapping[str, int], share: float) -> dict[str, int]:
    """A part of the usual calls in a round, and at least one of each."""
    return {name: max(1, int(count * share)) for name, count in counts.items()}


def cost(operation: Operation, count: int) -> float:
    """CPU microseconds of one call."""
    started = time.process_time()
    for _ in range(count):
        operation()
    return (time.process_time() - started) / count * 1e6


def report(figures: Figures, by_hand: str) -> str:
    """One Markdown row for each operation: medians, and the ratio of the pairs."""
    rows = []
    for name, pairs in figures.items():
        medians = (f"{median(column):,.0f}" for column in zip(*pairs, strict=True))
        rows.append([name, *medians, ratio(pairs)])
    return table("CPU, µs", ["storage", by_hand, "ratio (min..max)"], rows)


def ratios(figures: Figures, prefix: str) -> Ratios:
    """Storage to by hand, by operation."""
    return {f"{prefix}/{name}": ratio(pairs) for name, pairs in figures.items()}
