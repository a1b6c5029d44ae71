"""What was used, and what it cost: for the API, the command and the first page of the admin."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal

from storage import get_storage
from storage.accounts import usage
from storage.accounts.prices import Prices, prices
from storage.accounts.usage import Usage
from storage.records.sums import bounded

Dimension = Literal["day", "model", "user"]
DIMENSIONS: tuple[Dimension, ...] = ("day", "model", "user")

DEFAULT_PERIOD = timedelta(days=29)
"""From the first day to the last one, both inclusive."""

LONGEST_PERIOD = timedelta(days=365)

CENT = Decimal("0.01")

COUNTING_SECONDS = 1.0
"""How long a reader waits until what came last is counted."""


@dataclass
class Line:
    """The usage of one group; what it is not grouped by is None."""

    day: date | None
    model_used: str | None
    user_id: str | None = field(repr=False)  # users stay out of logs
    interactions: int = 0
    unanswered: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: Decimal | None = None
    """None if nothing of it has a price."""
    unpriced_interactions: int = 0
    """Those of models that have no price on their day. They are in no cost."""

    @property
    def tokens(self) -> int:
        """Input and output together."""
        return self.input_tokens + self.output_tokens

    @property
    def cost_shown(self) -> str:
        """The cost for people, who would take a rounded 0.00 for free. Empty without a price."""
        return to_cents(self.cost)

    def as_record(self) -> dict[str, Any]:
        """What is sent and written: without what it is not grouped by, and with an exact cost."""
        groups = {"day": self.day, "model_used": self.model_used, "user_id": self.user_id}
        return {
            **{name: value for name, value in groups.items() if value is not None},
            "interactions": self.interactions,
            "unanswered": self.unanswered,
            "input_tokens": bounded(self.input_tokens),
            "output_tokens": bounded(self.output_tokens),
            "cost": None if self.cost is None else f"{self.cost.normalize():f}",
            "unpriced_interactions": self.unpriced_interactions,
        }

    def add(self, used: Usage, cost: Decimal | None) -> None:
        """Count in what was used of one model on one day. `cost` is None if it has no price."""
        self.interactions += used.interactions
        self.unanswered += used.unanswered
        self.input_tokens += used.input_tokens
        self.output_tokens += used.output_tokens
        if cost is None:
            self.unpriced_interactions += used.interactions
        else:
            self.cost = cost if self.cost is None else self.cost + cost


@dataclass(frozen=True)
class Question:
    """What is asked: days, both inclusive, and the groups. None stands for all."""

    first: date
    last: date
    group_by: Sequence[Dimension] = ("day", "model")
    model_used: str | None = None
    user_id: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Report:
    """The lines of a page, in the order of users, days and models.

    `next_user` is the user after whom the next page begins, or None on the last page.
    """

    lines: list[Line]
    unpriced_models: list[str]
    next_user: str | None = field(default=None, repr=False)


def to_cents(cost: Decimal | None) -> str:
    """See `Line.cost_shown`."""
    if cost is None:
        return ""
    return "< 0.01" if 0 < cost < CENT else f"{cost:,.2f}"


def count() -> datetime | None:
    """Bring the numbers up to date. Returns the time up to which they are complete.

    None if some are missing that only `manage.py rebuild_usage` can count. Raises StorageError.
    """
    return get_storage().database.count_usage(COUNTING_SECONDS)


def dimensions(text: str) -> tuple[Dimension, ...]:
    """Names of dimensions with commas between them. Raises ValueError for anything else."""
    names = text.split(",")
    if len(set(names)) != len(names) or not set(names) <= set(DIMENSIONS):
        known = ", ".join(DIMENSIONS)
        raise ValueError(f"must be one or more of {known}, each once, with commas between them.")
    return tuple(name for name in DIMENSIONS if name in names)


def period(first: date | None, last: date | None) -> tuple[date, date]:
    """The days that are meant: by default the 30 days up to today (UTC). Raises ValueError."""
    last = last or max(first or date.min, datetime.now(UTC).date())
    if first is None:
        first = last - min(DEFAULT_PERIOD, last - date.min)
    if not timedelta(0) <= last - first <= LONGEST_PERIOD:
        raise ValueError(
            f"must be the last day or earlier, and at most {LONGEST_PERIOD.days} days before it."
        )
    return first, last


def report(
    question: Question, after: str = "", users: int = 20, known: Prices | None = None
) -> Report:
    """The usage that is asked for. Raises StorageError.

    Grouped by users, it is of up to `users` of them after the user `after`; otherwise complete.
    Those of other models than the one that is asked for count, but have no line.
    `known` are the prices, if they have been read already.
    """
    known = known or prices()
    names = [question.user_id] if question.user_id is not None else None
    if names is None and "user" in question.group_by:
        names = usage.users(question.first, question.last, after, users + 1)
    if names is None:
        found = usage.of_models(question.first, question.last, question.model_used)
        return priced(found, known, question.group_by)
    next_user = names[users - 1] if len(names) > users else None
    return priced(_of_users(question, names[:users], known), known, question.group_by, next_user)


def _of_users(question: Question, names: Sequence[str], known: Prices) -> list[Usage]:
    days = question.first, question.last
    if "day" in question.group_by:
        return usage.of_users(names, *days, question.model_used)
    return usage.sums_of_users(names, *days, known.changes(*days), question.model_used)


def top_users(question: Question, limit: int, known: Prices | None = None) -> list[Line]:
    """The users with most tokens, most first. `sums_of_leaders` says how they are chosen."""
    known = known or prices()
    days = question.first, question.last
    found = usage.sums_of_leaders(limit, *days, known.changes(*days), question.model_used)
    lines = priced(found, known, ("user",)).lines
    return sorted(lines, key=lambda line: (-line.tokens, line.user_id or ""))


def total(lines: Iterable[Line]) -> Line:
    """The sum of lines."""
    found = Line(None, None, None)
    for line in lines:
        found.interactions += line.interactions
        found.unanswered += line.unanswered
        found.input_tokens += line.input_tokens
        found.output_tokens += line.output_tokens
        found.unpriced_interactions += line.unpriced_interactions
        if line.cost is not None:
            found.cost = line.cost if found.cost is None else found.cost + line.cost
    return found


def priced(
    used: Iterable[Usage],
    known: Prices,
    group_by: Sequence[Dimension],
    next_user: str | None = None,
) -> Report:
    """The lines of what was used. Each day has the price that holds on it now."""
    lines: dict[tuple[str, date, str], Line] = {}
    unpriced = set()
    for one in used:
        if not one.interactions:
            continue  # all of them were deleted
        day = one.day if "day" in group_by else None
        model = one.model_used if "model" in group_by else None
        user = one.user_id if "user" in group_by else None
        key = (user or "", day or date.min, model or "")
        line = lines.get(key)
        if line is None:
            line = lines[key] = Line(day, model, user)
        price = known.at(one.model_used, one.day)
        if price is None:
            unpriced.add(one.model_used)
            line.add(one, None)
        else:
            line.add(one, price.of(one.input_tokens, one.output_tokens))
    return Report([lines[key] for key in sorted(lines)], sorted(unpriced), next_user)
