"""Counts what was kept and left out, for metrics, a line in the log and the admin."""

import logging

from django.utils import timezone
from prometheus_client import Counter

from chat.ingest.hours import HOURS
from chat.ingest.keeping import Taken
from chat.ingest.reasons import Reason
from chat.ingest.sources import SOURCES

logger = logging.getLogger(__name__)

RECEIVED = Counter(
    "chat_intake_received",
    "What tools have sent, by source, with what is no call of a model.",
    ["source"],
)
STORED = Counter(
    "chat_intake_stored",
    "Calls of models that are stored: kept (a new interaction), unchanged (known already).",
    ["source", "result"],
)
LEFT_OUT = Counter(
    "chat_intake_left_out",
    "What was not stored, by reason. The admin's page Intake says what to do about each.",
    ["source", "reason"],
)

KEPT, UNCHANGED = "kept", "unchanged"


def _reserve() -> None:
    """Begin all counters of the ways in at 0: a full disk has no space for one that comes later."""
    for name, source in SOURCES.items():
        if not source.is_file:
            RECEIVED.labels(name)
            for result in (KEPT, UNCHANGED):
                STORED.labels(name, result)
            for reason in Reason:
                LEFT_OUT.labels(name, reason.label)


_reserve()


def record(source: str, taken: Taken) -> None:
    """Count what has become of one request or import from this source (`otlp`, `litellm`, ...).

    Never raises, and never waits for the database.
    """
    try:
        _record(source, taken)
    except Exception:
        logger.exception("What came from %s could not be counted.", source)


def _record(source: str, taken: Taken) -> None:
    stored = {KEPT: taken.created, UNCHANGED: taken.unchanged}
    reasons = {reason.label: count for reason, count in taken.reasons.items()}
    RECEIVED.labels(source).inc(taken.received)
    for result, count in stored.items():
        STORED.labels(source, result).inc(count)
    for label, count in reasons.items():
        LEFT_OUT.labels(source, label).inc(count)
    HOURS.add(source, {"received": taken.received} | stored | reasons, timezone.now())
