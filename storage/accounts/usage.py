"""Reading the roll-ups of usage."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from django.db import connections
from django.db.models import Case, DateField, Q, QuerySet, Sum, Value, When

from storage.models import UsageOfModel, UsageOfUser
from storage.sql_errors import translated

SUMS = ("interactions", "unanswered", "input_tokens", "output_tokens")

LEADERS_AT_MOST = 5_000
"""Rows from which the users with most tokens are chosen."""


@dataclass(frozen=True)
class Usage:
    """So much of a model on a day; `user_id` is None for all users together."""

    day: date
    model_used: str
    interactions: int
    unanswered: int
    input_tokens: int
    output_tokens: int
    user_id: str | None = field(default=None, repr=False)  # users stay out of logs


@dataclass(frozen=True)
class Tiers:
    """How many interactions are hot and cold, as of the roll-ups."""

    hot: int
    cold: int
    due: int
    """Hot ones of days that are due to be archived completely."""
    overdue: int


def of_models(first: date, last: date, model_used: str | None = None) -> list[Usage]:
    """The usage of all users on these days, both inclusive, in their order. Raises StorageError."""
    rows = UsageOfModel.objects.filter(day__range=(first, last))
    if model_used is not None:
        rows = rows.filter(model_used=model_used)
    return _usage(rows, ("day", "model_used"))


def of_user(user_id: str, first: date, last: date, model_used: str | None = None) -> list[Usage]:
    """The usage of one user, in the same way."""
    return of_users([user_id], first, last, model_used)


def of_users(
    user_ids: Sequence[str], first: date, last: date, model_used: str | None = None
) -> list[Usage]:
    """The usage of a few users, by user, then as above."""
    rows = UsageOfUser.objects.filter(user_id__in=user_ids, day__range=(first, last))
    if model_used is not None:
        rows = rows.filter(model_used=model_used)
    return _usage(rows, ("user_id", "day", "model_used"))


def sums_of_users(
    user_ids: Sequence[str],
    first: date,
    last: date,
    starts: Sequence[date],
    model_used: str | None = None,
) -> list[Usage]:
    """As `of_users`, but summed up over spans of days; `day` is the first one of its span.

    A span begins on the first day, and on each of `starts`, which are in order and later.
    """
    spans = [When(day__gte=start, then=Value(start)) for start in reversed(starts)]
    span = Case(*spans, default=Value(first), output_field=DateField())
    rows = UsageOfUser.objects.filter(user_id__in=user_ids, day__range=(first, last))
    if model_used is not None:
        rows = rows.filter(model_used=model_used)
    key = ("user_id", "span", "model_used")
    sums = {f"{name}_sum": Sum(name) for name in SUMS}
    with translated:
        found = rows.annotate(span=span).values_list(*key).annotate(**sums).order_by(*key)
        return [Usage(day, model, *counts, user_id) for user_id, day, model, *counts in found]


def users(
    first: date, last: date, after: str, limit: int, model_used: str | None = None
) -> list[str]:
    """Up to `limit` users with usage on these days, by code point, after the user `after`.

    Raises StorageError.
    """
    parameters = _parameters(first, last, limit, model_used) | {"after": after}
    with translated, connections["default"].cursor() as cursor:
        cursor.execute(_USERS, parameters)
        return [user_id for (user_id,) in cursor.fetchall()]


def leaders(first: date, last: date, limit: int, model_used: str | None = None) -> list[str]:
    """Users with most tokens, chosen from those who had most of a model on a day.

    To sum up every user would take as long as there are users. So one who is never among the first
    of a day, but is there every day, can be missing. Raises StorageError.
    """
    parameters = _parameters(first, last, limit, model_used) | {"rows": LEADERS_AT_MOST}
    with translated, connections["default"].cursor() as cursor:
        cursor.execute(_LEADERS, parameters)
        return [user_id for (user_id,) in cursor.fetchall()]


def tiers(due_before: date, overdue_before: date) -> Tiers:
    """What is hot and cold now. Both arguments are the first days that are not due yet.

    Raises StorageError.
    """
    left = UsageOfModel.objects.filter(Q(hot__gt=0) | Q(cold__gt=0))
    with translated:
        found = left.aggregate(
            all_hot=Sum("hot"),
            all_cold=Sum("cold"),
            due=Sum("hot", filter=Q(day__lt=due_before)),
            overdue=Sum("hot", filter=Q(day__lt=overdue_before)),
        )
    return Tiers(**{name.removeprefix("all_"): count or 0 for name, count in found.items()})


def _usage(
    rows: "QuerySet[UsageOfModel] | QuerySet[UsageOfUser]", key: tuple[str, ...]
) -> list[Usage]:
    with translated:
        return [Usage(**row) for row in rows.order_by(*key).values(*key, *SUMS)]


def _parameters(first: date, last: date, limit: int, model: str | None) -> dict[str, Any]:
    days = {"first": first.isoformat(), "last": last.isoformat()}
    return {**days, "limit": limit, "model": model}


_OF_MODEL = UsageOfModel._meta.db_table
_OF_USER = UsageOfUser._meta.db_table
_LEADERS = f"""
    WITH days AS (
        SELECT day, model_used FROM {_OF_MODEL}
        WHERE day BETWEEN %(first)s AND %(last)s
        AND (%(model)s IS NULL OR model_used = %(model)s)
    )
    SELECT used.user_id FROM days CROSS JOIN {_OF_USER} AS used ON used.id IN (
        SELECT id FROM {_OF_USER} AS one
        WHERE one.day = days.day AND one.model_used = days.model_used
        ORDER BY one.input_tokens + one.output_tokens DESC
        LIMIT (SELECT max(1, %(rows)s / count(*)) FROM days)
    )
    GROUP BY used.user_id
    ORDER BY sum(used.input_tokens + used.output_tokens) DESC, used.user_id
    LIMIT %(limit)s
"""  # noqa: S608  (the names of our tables)

# From one user to the next: each is one step in the index, however many rows the user has.
_USERS = f"""
    WITH RECURSIVE found(user_id) AS (
        SELECT min(user_id) FROM {_OF_USER} WHERE user_id > %(after)s
        UNION ALL
        SELECT (SELECT min(user_id) FROM {_OF_USER} AS later WHERE later.user_id > found.user_id)
        FROM found WHERE found.user_id IS NOT NULL
    )
    SELECT user_id FROM found WHERE EXISTS (
        SELECT 1 FROM {_OF_USER} AS used
        WHERE used.user_id = found.user_id AND used.day BETWEEN %(first)s AND %(last)s
        AND (%(model)s IS NULL OR used.model_used = %(model)s)
    )
    LIMIT %(limit)s
"""  # noqa: S608  (the name of our table)
