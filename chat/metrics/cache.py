"""What the metrics say of the cache, for staff."""

from dataclasses import dataclass

from chat.metrics.processes import of_this_server

READS = "chat_cache_reads"
BREAKERS_OPEN = "chat_cache_breakers_open"

HITS = ("hit", "waited")
"""The results of a read that the cache has answered."""


@dataclass(frozen=True)
class CacheUse:
    """Reads through the cache since this server started, and circuit breakers that are open."""

    reads: int
    hits: int
    breakers_open: int

    @property
    def hit_percent(self) -> float | None:
        """The share of reads that the cache has answered; None before the first."""
        return 100 * self.hits / self.reads if self.reads else None


def cache_use() -> CacheUse:
    """The sums of all processes of this server."""
    reads = hits = breakers_open = 0
    for metric in of_this_server().collect():
        if metric.name not in (READS, BREAKERS_OPEN):
            continue
        for sample in metric.samples:
            value = int(sample.value)
            if sample.name == BREAKERS_OPEN:
                breakers_open += value
            elif sample.name == f"{READS}_total":
                reads += value
                hits += value if sample.labels["result"] in HITS else 0
    return CacheUse(reads, hits, breakers_open)
