"""The rounds of the API benchmark as Markdown tables and as ratios."""

from collections.abc import Callable
from statistics import median

from harness.contestants import CHAT_STORE, Contestant
from harness.measure import OPERATIONS, Operation, Round
from harness.ratios import Ratio, Ratios, ratio, table

Results = dict[tuple[Contestant, Operation], list[Round]]

TITLES = [operation.title for operation in OPERATIONS]


def tables(results: Results) -> str:
    """Figures of each server, then how many times better than the others this project is."""
    parts = [
        _table(results, "Server CPU per request, µs", _cpu),
        _table(results, "Server CPU per request, once all are answered, µs", _later),
        _table(results, "Requests a second; p50 / p99 in ms", _rate),
    ]
    parts += [
        table(f"{kind}: this project is better by", TITLES, rows)
        for kind in BETTER
        if (rows := list(_rows_of_ratios(results, kind)))
    ]
    return "\n\n".join(parts)


def ratios(results: Results, prefix: str) -> Ratios:
    """How many times better than the others this project is, by kind and operation."""
    return {
        f"{prefix}/{other.slug}/{kind}/{operation.title}": _ratio(results, other, operation, kind)
        for other in _others(results)
        for kind in BETTER
        for operation in OPERATIONS
    }


BETTER: dict[str, Callable[[Round, Round], tuple[float, float]]] = {
    "cpu": lambda ours, theirs: (theirs.cpu, ours.cpu),
    "rate": lambda ours, theirs: (ours.rate, theirs.rate),
    "p99": lambda ours, theirs: (theirs.p99, ours.p99),
}
"""Figures of which the first divided by the second is large if this project is good."""


def _rows_of_ratios(results: Results, kind: str) -> "list[list[object]]":
    return [
        [other.title, *(_ratio(results, other, operation, kind) for operation in OPERATIONS)]
        for other in _others(results)
    ]


def _ratio(results: Results, other: Contestant, operation: Operation, kind: str) -> Ratio:
    rounds = zip(results[CHAT_STORE, operation], results[other, operation], strict=True)
    return ratio(BETTER[kind](ours, theirs) for ours, theirs in rounds)


def _others(results: Results) -> list[Contestant]:
    found = _contestants(results)
    return [other for other in found if other is not CHAT_STORE] if CHAT_STORE in found else []


def _contestants(results: Results) -> list[Contestant]:
    return list(dict.fromkeys(contestant for contestant, _ in results))


def _table(results: Results, title: str, cell: Callable[[list[Round]], str]) -> str:
    rows = [
        [contestant.title, *(cell(results[contestant, operation]) for operation in OPERATIONS)]
        for contestant in _contestants(results)
    ]
    return table(title, TITLES, rows)


def _cpu(rounds: list[Round]) -> str:
    costs = [one.cpu * 1e6 for one in rounds]
    return f"{median(costs):,.0f} ({min(costs):,.0f}..{max(costs):,.0f})"


def _later(rounds: list[Round]) -> str:
    return f"{median(one.later for one in rounds) * 1e6:,.0f}"


def _rate(rounds: list[Round]) -> str:
    rate = median(one.rate for one in rounds)
    p50, p99 = (median(getattr(one, name) for one in rounds) * 1e3 for name in ("p50", "p99"))
    return f"{rate:,.0f}; {p50:.1f} / {p99:.1f}"
