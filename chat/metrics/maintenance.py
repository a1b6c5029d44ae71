"""The metrics that runs of maintenance commands leave for Prometheus."""

import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from prometheus_client import CollectorRegistry, Gauge

from chat.metrics.files import leave_metrics, left_by_commands

SUCCESS = "chat_maintenance_success_timestamp_seconds"


def leave_run_metrics(command: str, status: str, seconds: float, counts: Mapping[str, Any]) -> None:
    """Write the metrics of a run that has ended. Raises OSError."""
    success = time.time() if status == "done" else _successes().get(command, 0.0)
    leave_metrics(command, measured(command, status, seconds, counts, success))


def measured(
    command: str, status: str, seconds: float, counts: Mapping[str, Any], success: float
) -> CollectorRegistry:
    """The metrics of a run. `success` is the timestamp of when all that was due was last done."""
    registry = CollectorRegistry()

    def gauge(name: str, meaning: str, labels: Mapping[str, str], value: float) -> None:
        labels = {"command": command, **labels}
        Gauge(name, meaning, list(labels), registry=registry).labels(**labels).set(value)

    gauge(
        SUCCESS,
        "When a command last completed all that was due, in seconds since 1970.",
        {},
        success,
    )
    gauge(
        "chat_maintenance_run_timestamp_seconds",
        "When a command last ended, by exit status, in seconds since 1970.",
        {"status": status},
        time.time(),
    )
    gauge("chat_maintenance_run_seconds", "How long the last run took.", {}, seconds)
    remaining = counts.get("remaining")
    if remaining is not None:
        gauge(
            "chat_maintenance_rows_remaining",
            "Rows that the last run left for the next one.",
            {},
            remaining,
        )
    rows = Gauge(
        "chat_maintenance_rows",
        "What that run counted, by kind.",
        ["command", "kind"],
        registry=registry,
    )
    for kind, count in _kinds(counts):
        rows.labels(command, kind).set(count)
    return registry


def _kinds(counts: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    for kind, count in counts.items():
        if isinstance(count, Mapping):
            yield from _kinds(count)
        elif kind != "remaining" and type(count) is int:
            yield kind, count


def last_successes() -> dict[str, str]:
    """When each command last did all that was due, as RFC 3339. Omits those that never did."""
    return {
        command: datetime.fromtimestamp(timestamp, UTC).isoformat("T", "seconds")
        for command, timestamp in _successes().items()
        if timestamp
    }


def _successes() -> dict[str, float]:
    """The timestamps of `last_successes`; 0 for a command that never did all that was due."""
    return {
        sample.labels["command"]: float(sample.value)
        for metric in left_by_commands()
        if metric.name == SUCCESS
        for sample in metric.samples
    }
