"""Reading the roll-ups of usage, and what it cost."""

from dataclasses import dataclass
from datetime import date

from django.db.models import QuerySet, Sum

from storage.accounts import roll_ups
from storage.models import UsageOfModel, UsageOfUser
from storage.sql_errors import translated

SUMS = ("interactions", "unanswered", "input_tokens", "output_tokens")


@dataclass(frozen=True)
class Usage:
    """So much of a model on a day; `user_id` is None for all users together."""

    day: date
    model_used: str
    interactions: int
    unanswered: int
    input_tokens: int
    output_tokens: int
    user_id: str | None = None


def of_models(first: date, last: date, model_used: str | None = None) -> list[Usage]:
    """The usage of all users on these days, both inclusive, in their order. Raises StorageError."""
    rows = UsageOfModel.objects.filter(day__range=(first, last))
    if model_used is not None:
        rows = rows.filter(model_used=model_used)
    return _usage(rows, ("day", "model_used"))


def of_user(user_id: str, first: date, last: date) -> list[Usage]:
    """The usage of one user, in the same way."""
    rows = roll_ups.rows_of_user(user_id, "default", first, last)
    return _usage(rows, ("day", "model_used", "user_id"))


def _usage(
    rows: "QuerySet[UsageOfModel] | QuerySet[UsageOfUser]", key: tuple[str, ...]
) -> list[Usage]:
    with translated:
        return [Usage(**row) for row in rows.order_by(*key).values(*key, *SUMS)]


def tiers() -> dict[str, int]:
    """How many interactions are hot and cold now. Raises StorageError."""
    with translated:
        found = UsageOfModel.objects.aggregate(hot=Sum("hot"), cold=Sum("cold"))
    return {tier: count or 0 for tier, count in found.items()}
