"""The metrics of the cache, for Prometheus. `chat.metrics.views` serves them."""

import functools
from dataclasses import dataclass

from prometheus_client import Counter, Gauge

from storage.telemetry.counters import Deferred

READS = Counter(
    "chat_cache_reads",
    "Reads through the cache: hit, miss (nothing was cached), waited (a hit once another reader "
    "had filled it), busy (a writer or a reader was at work on the key, or the cache was down).",
    ["kind", "result"],
)
FILLS = Counter(
    "chat_cache_fills",
    "What a miss found: cached, or refused because a writer came between.",
    ["kind", "result"],
)
DROPPED = Counter(
    "chat_cache_dropped",
    "Entries removed by a reader: unfit (it cannot be read, or belongs elsewhere), outdated "
    "(an answer that was changed, deleted or has expired; what was cached before an outage).",
    ["kind", "reason"],
)
BREAKERS_OPEN = Gauge(
    "chat_cache_breakers_open",
    "Circuit breakers that are open: one a server process, or 16 with a cluster.",
    multiprocess_mode="livesum",
)
MISSED_INVALIDATIONS = Counter(
    "chat_cache_missed_invalidations",
    "Keys that a cache server could not be told of. What was cached under them, and under 1 in 256 "
    "of the others, is no longer used.",
)


@dataclass(frozen=True)
class Counts:
    """The counters of one kind of read. Looked up once, because that costs more than counting."""

    hit: Deferred
    miss: Deferred
    waited: Deferred
    busy: Deferred
    filled: Deferred
    refused: Deferred
    unfit: Deferred
    outdated: Deferred


@functools.cache
def counts_of(kind: str) -> Counts:
    """Returns the counters of a kind of read: `interaction` or `answer`."""
    children = (
        *(READS.labels(kind, result) for result in ("hit", "miss", "waited", "busy")),
        *(FILLS.labels(kind, result) for result in ("done", "refused")),
        *(DROPPED.labels(kind, reason) for reason in ("unfit", "outdated")),
    )
    return Counts(*map(Deferred, children))
