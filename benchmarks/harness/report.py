"""The measurements as Markdown tables."""

from collections.abc import Callable, Iterable
from statistics import median, quantiles

from harness.contestants import CHAT_STORE, Contestant
from harness.measure import OPERATIONS, Round

Results = dict[tuple[str, str], list[Round]]
"""The rounds, by the contestant's slug and the operation's title."""


def cpu_table(results: Results, contestants: list[Contestant]) -> str:
    """CPU per request as median (min..max) of the rounds, and the baselines' as multiples."""

    def cost(slug: str, operation: str) -> str:
        costs = _cpu_microseconds(results[slug, operation])
        return f"{median(costs):,.0f} ({min(costs):,.0f}..{max(costs):,.0f})"

    def ratio(slug: str, operation: str) -> str:
        theirs = _cpu_microseconds(results[slug, operation])
        ours = _cpu_microseconds(results[CHAT_STORE.slug, operation])
        return f"{median(a / b for a, b in zip(theirs, ours, strict=True)):.1f} x"

    rows = [_row(each.title, each.slug, cost) for each in contestants]
    if CHAT_STORE in contestants:
        rows.extend(
            _row(f"{each.title} / {CHAT_STORE.title}", each.slug, ratio)
            for each in contestants
            if each is not CHAT_STORE
        )
    return _table("Server CPU per request, µs", rows)


def latency_table(results: Results, contestants: list[Contestant]) -> str:
    """Wall latency of requests sent one at a time, over all rounds."""

    def latency(slug: str, operation: str) -> str:
        seconds = [each for one in results[slug, operation] for each in one.latencies]
        percentiles = quantiles(seconds, n=100, method="inclusive")
        return f"{percentiles[49] * 1e3:.2f} / {percentiles[98] * 1e3:.2f}"

    rows = [_row(each.title, each.slug, latency) for each in contestants]
    return _table("Latency, ms: p50 / p99", rows)


def _cpu_microseconds(rounds: list[Round]) -> list[float]:
    return [each.cpu * 1e6 for each in rounds]


def _row(title: str, slug: str, cell: Callable[[str, str], str]) -> list[str]:
    return [title, *(cell(slug, operation.title) for operation in OPERATIONS)]


def _table(title: str, rows: Iterable[list[str]]) -> str:
    header = [title, *(operation.title for operation in OPERATIONS)]
    rule = ["---", *("---:" for _ in OPERATIONS)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, rule, *rows))
