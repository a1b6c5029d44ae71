"""What was used and what it cost, as the store returns it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any


@dataclass(frozen=True)
class Usage:
    """The usage of one group. What it is not grouped by is None; days are in UTC."""

    day: date | None
    model_used: str | None
    user_id: str | None = field(repr=False)
    interactions: int
    unanswered: int
    """Those without a response."""
    input_tokens: int
    output_tokens: int
    cost: Decimal | None
    """None if nothing of it has a price."""
    unpriced_interactions: int
    """Those of models without a price. They are in no cost."""

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Usage:
        """Returns the usage in a record of the API."""
        day, cost = record.get("day"), record["cost"]
        return cls(
            day=None if day is None else date.fromisoformat(day),
            model_used=record.get("model_used"),
            user_id=record.get("user_id"),
            interactions=record["interactions"],
            unanswered=record["unanswered"],
            input_tokens=record["input_tokens"],
            output_tokens=record["output_tokens"],
            cost=None if cost is None else Decimal(cost),
            unpriced_interactions=record["unpriced_interactions"],
        )


@dataclass(frozen=True)
class UsageReport:
    """The usage of a period, in the order of users, days and models."""

    results: list[Usage]
    start_date: date
    end_date: date
    """The last day, inclusive."""
    currency: str
    """Of all costs; ISO 4217."""
    unpriced_models: list[str]
    complete_until: datetime | None
    """Up to when interactions are counted. None if some are missing, which only an operator can
    have counted."""
