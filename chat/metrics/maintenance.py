"""What the runs of maintenance commands leave for Prometheus."""

import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from prometheus_client import CollectorRegistry, Gauge

from chat.metrics import files as metrics_files

SUCCESS = "chat_maintenance_success_timestamp_seconds"


def leave(command: str, status: str, seconds: float, counts: Mapping[str, Any]) -> None:
    """Leave the measurements of a run that has ended. Raises OSError."""
    success = time.time() if status == "done" else _last_success(command)
    metrics_files.leave(command, measured(command, status, seconds, counts, success))


def measured(
    command: str, status: str, seconds: float, counts: Mapping[str, Any], success: float
) -> CollectorRegistry:
    """What Prometheus is told. `success` is when the command last did all that it was to do."""
    registry = CollectorRegistry()

    def gauge(name: str, meaning: str, labels: Mapping[str, str], value: float) -> None:
        labels = {"command": command, **labels}
        Gauge(name, meaning, list(labels), registry=registry).labels(**labels).set(value)

    gauge(SUCCESS, "When a command last did all that was due, in seconds since 1970.", {}, success)
    gauge(
        "chat_maintenance_run_timestamp_seconds",
        "When it last ended, in seconds since 1970.",
        {"status": status},
        time.time(),
    )
    gauge("chat_maintenance_run_seconds", "How long that run took.", {}, seconds)
    remaining = counts.get("remaining")
    if remaining is not None:
        gauge("chat_maintenance_rows_remaining", "Rows that were left to be done.", {}, remaining)
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
    """When each command last did all that was due, as RFC 3339; without those that never did."""
    return {
        sample.labels["command"]: datetime.fromtimestamp(sample.value, UTC).isoformat(
            "T", "seconds"
        )
        for metric in metrics_files.left_by_commands()
        if metric.name == SUCCESS
        for sample in metric.samples
        if sample.value
    }


def _text(timestamp: float) -> str:
    return datetime.fromtimestamp(timestamp, UTC).isoformat("T", "seconds")


def _last_success(command: str) -> float:
    """0 if there was none."""
    for metric in metrics_files.left_by_commands():
        if metric.name == SUCCESS:
            for sample in metric.samples:
                if sample.labels.get("command") == command:
                    return float(sample.value)
    return 0.0
