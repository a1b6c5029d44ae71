"""What is wrong with the set-up of the Redis servers, asked at each scrape.

A start is refused for the same errors, but an operator, a failover or a managed service can change
a server later. https://redis.io/docs/latest/commands/config-set/
"""

from collections import Counter
from collections.abc import Iterator

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from storage.startup.production_checks import REDIS_ERRORS, redis_errors


class CacheServers(Collector):
    """No samples if there is no Redis, or none that answers."""

    def collect(self) -> Iterator[Metric]:
        """One sample for each check, with the number of servers that fail it."""
        family = GaugeMetricFamily(
            "chat_cache_server_errors",
            "Redis servers that fail a check of their set-up (no memory limit, no eviction, "
            "persistence, a node of a cluster), by the check that `check --deploy` names.",
            labels=["check"],
        )
        errors = redis_errors()
        if errors is not None:
            count = Counter(error.id for error in errors)
            for check in REDIS_ERRORS:
                family.add_metric([check], count[check])
        yield family
