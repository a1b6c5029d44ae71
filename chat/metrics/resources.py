"""How much of what is limited is in use in this process, as of the last second."""

from collections.abc import Mapping

from prometheus_client import Gauge

from storage import get_storage

IN_USE = Gauge(
    "chat_resource_in_use",
    "What is limited and in use, in all processes: requests (taken on), work (places to work), "
    "executor (coroutines), connections (to SQLite), writers (one writes, the others wait), calls "
    "(to DynamoDB).",
    ["resource"],
    multiprocess_mode="livesum",
)
LIMIT = Gauge(
    "chat_resource_limit", "How many of it there may be.", ["resource"], multiprocess_mode="livesum"
)


def sample(places: Mapping[str, tuple[int, int]]) -> None:
    """Measure, beside these `places`: how many are in use, and how many there are."""
    storage = get_storage()
    executor = storage.runner.under_way, storage.runner.threads
    found = {**places, "executor": executor, **storage.database.in_use()}
    for resource, (in_use, limit) in found.items():
        IN_USE.labels(resource).set(in_use)
        LIMIT.labels(resource).set(limit)
