"""What must hold of the ratios of all benchmarks together. growth.py has conditions of its own."""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from harness.contestants import CONTESTANTS, PLAIN_DRF, TUNED, build_slug
from harness.measure import OPERATIONS
from harness.ratios import Ratios, table

PREDECESSOR = "9cc4661"
"""The build of which this one was to be a multiple as fast."""

CPU_AT_LEAST = {
    PLAIN_DRF.slug: (32, 36, 12, 14, 16),
    TUNED.slug: (2.5, 1.8, 1.4, 1.6, 1.2),
    build_slug(PREDECESSOR): (4, 3, 2, 2.2, 1.5),
}
"""The server CPU of others divided by ours, by operation."""

STORAGE_AT_MOST = {
    "get": 1.4,
    "page of 50": 1.4,
    "page of 50 as JSON": 1.2,
    "save": 1.2,
    "batch of 100": 1.3,
}
"""The CPU of storage calls divided by that of raw sqlite3."""

CLOUD_AT_MOST = {
    "get by id": 0.20,
    "page of 50": 0.25,
    "save": 0.27,
    "create": 0.27,
    "batch of 100": 0.35,
}
"""The CPU of storage calls on DynamoDB divided by that of raw botocore."""

REQUESTS_AT_MOST = {
    "no cache/get by id": 0.45,
    "no cache/page of 50": 0.35,
    "no cache/save": 0.50,
    "Redis/save": 0.60,
    "no cache/lookup that misses": 0.45,
}
"""The server CPU of requests in production, divided by that of a server whose calls are botocore's.
"""

WORKERS = (1, 2, 4)
NO_WORSE = 1.05
"""Two measurements of the same differ by that much."""


class Goal(NamedTuple):
    """A ratio that has to be at least or at most something."""

    name: str
    at_least: bool
    bound: float

    def holds(self, ratios: Ratios) -> bool | None:
        """Whether the median keeps to the bound; None if it was not measured."""
        if self.name not in ratios:
            return None
        value = ratios[self.name].median
        return value >= self.bound if self.at_least else value <= self.bound


def goals(texts: str) -> Iterator[Goal]:
    """All of them, for `real` or `made-up` texts."""
    titles = [operation.title for operation in OPERATIONS]
    for slug, bounds in CPU_AT_LEAST.items():
        for title, bound in zip(titles, bounds, strict=True):
            yield Goal(f"api/{texts}/1/{slug}/cpu/{title}", True, bound)
    for workers in WORKERS:
        for kind in ("rate", "p99"):
            for title in titles:
                yield Goal(f"api/{texts}/{workers}/{TUNED.slug}/{kind}/{title}", True, 1)
    yield Goal("writers/2 ms/rate", True, 3)
    yield Goal("writers/0 ms/rate", True, 1.1)
    yield Goal("writers/2 ms/p99", False, 0.1)
    for name, bound in STORAGE_AT_MOST.items():
        yield Goal(f"storage/{texts}/200000/{name}", False, bound)
        yield Goal(f"storage/short/growth/{name}", False, NO_WORSE)
    yield from most("cloud", CLOUD_AT_MOST)
    yield from most("cloud requests", REQUESTS_AT_MOST)
    yield Goal("memory", False, NO_WORSE)


def most(prefix: str, bounds: Mapping[str, float]) -> Iterator[Goal]:
    """What must be at most something, by its name after the prefix."""
    for name, bound in bounds.items():
        yield Goal(f"{prefix}/{name}", False, bound)


def verdicts(ratios: Ratios, texts: str) -> tuple[str, bool]:
    """A Markdown table of all goals, and whether all hold that were measured."""
    return verdicts_of(goals(texts), ratios)


def verdicts_of(wanted: Iterable[Goal], ratios: Ratios) -> tuple[str, bool]:
    """The same for some goals."""
    rows, all_hold = [], True
    for goal in wanted:
        holds = goal.holds(ratios)
        all_hold &= holds is not False
        sign = "≥" if goal.at_least else "≤"
        shown = {True: "yes", False: "NO", None: "not measured"}[holds]
        rows.append([goal.name, f"{sign} {goal.bound:g}", ratios.get(goal.name, ""), shown])
    return table("goal", ["bound", "ratio (min..max)", "holds"], rows), all_hold


def summary(ratios: Ratios, texts: str) -> str:
    """The table for the project's README: medians of one worker, without figures in µs."""
    kinds = {"cpu": "less server CPU a request", "rate": "more requests a second"}
    rows = []
    for slug, contestant in CONTESTANTS.items():
        for kind, words in kinds.items():
            names = [f"api/{texts}/1/{slug}/{kind}/{operation.title}" for operation in OPERATIONS]
            if all(name in ratios for name in names):
                cells = [f"{ratios[name].median:.{ratios[name].median < 10:d}f}x" for name in names]
                rows.append([f"{contestant.title}: {words}", *cells])
    return table("this project, beside", [operation.title for operation in OPERATIONS], rows)
