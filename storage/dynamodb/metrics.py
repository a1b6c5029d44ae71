"""What DynamoDB charges for, and what it has refused for now, for Prometheus."""

import functools
from collections.abc import Mapping
from typing import Any

from prometheus_client import Counter

CAPACITY = Counter(
    "chat_dynamodb_consumed_capacity_units",
    "Capacity units that DynamoDB has charged, by operation: of reads, read units.",
    ["operation"],
)
THROTTLED = Counter(
    "chat_dynamodb_throttled_requests",
    "Attempts that DynamoDB has throttled, in whole or in part, by operation. Most are repeated, "
    "and then succeed.",
    ["operation"],
)
RETRIES = Counter(
    "chat_dynamodb_retries",
    "Attempts after the first one, by operation, for whatever reason.",
    ["operation"],
)
NOT_ASKED = Counter(
    "chat_dynamodb_not_asked",
    "Calls that were refused at once, because DynamoDB did not answer those before (the circuit "
    "breaker is open).",
)

_capacity_of = functools.cache(CAPACITY.labels)
"""To look a child up takes longer than to count."""


def count_answer(operation: str, answer: Mapping[str, Any]) -> None:
    """Count what a call has consumed. PynamoDB asks for that in each call."""
    consumed = answer.get("ConsumedCapacity")
    if consumed:
        if isinstance(consumed, list):
            units = sum(table.get("CapacityUnits", 0.0) for table in consumed)
        else:
            units = consumed.get("CapacityUnits", 0.0)
        _capacity_of(operation).inc(units)
    count_attempts(operation, answer)


def count_attempts(operation: str, answer: Mapping[str, Any]) -> None:
    """Count the attempts after the first one."""
    retries = answer.get("ResponseMetadata", {}).get("RetryAttempts", 0)
    if retries:
        RETRIES.labels(operation).inc(retries)
