"""Reading the roll-ups of usage."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from django.db import connections
from django.db.models import QuerySet

from storage.models import UsageOfModel, UsageOfUser
from storage.sql_errors import translated

SUMS = ("interactions", "unanswered", "input_tokens", "output_tokens")

LEADERS_AT_MOST = 1_000
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
class Ages:
    """What is due: hot ones of days before the first date, cold ones of days before the second."""

    archived_before: date
    deleted_before: date


@dataclass(frozen=True)
class Tiers:
    """How many interactions there are now, and how many of them are due, by whole days."""

    hot: int
    cold: int
    due: int
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
    names = {f"user{index}": user_id for index, user_id in enumerate(user_ids)}
    users = ", ".join(f"%({name})s" for name in names)
    return _sums(users, first, last, starts, _parameters(first, last, 0, model_used) | names)


def sums_of_leaders(
    limit: int, first: date, last: date, starts: Sequence[date], model_used: str | None = None
) -> list[Usage]:
    """As `sums_of_users`, of those with most tokens, chosen from who had most of a model on a day.

    To sum up every user would take as long as there are users. So one who is never among the first
    of a day, but is there every day, can be missing. Raises StorageError.
    """
    parameters = _parameters(first, last, limit, model_used) | {"rows": LEADERS_AT_MOST}
    return _sums(_LEADERS, first, last, starts, parameters)


def _sums(
    users: str, first: date, last: date, starts: Sequence[date], parameters: dict[str, Any]
) -> list[Usage]:
    """The sums of users, whom `users` names in SQL."""
    begins = {f"start{index}": start.isoformat() for index, start in enumerate(starts)}
    # No annotations of the ORM: to compile them takes longer than to run this.
    span = "+".join(f"(day >= %({name})s)" for name in begins) or "0"
    with translated, connections["default"].cursor() as cursor:
        cursor.execute(_SUMS.format(span=span, users=users), parameters | begins)
        rows = cursor.fetchall()
    days = [first, *starts]
    return [Usage(days[number], model, *counts) for number, model, *counts in rows]


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


def tiers(due: Ages, overdue: Ages) -> Tiers:
    """What there is now. Raises StorageError."""
    parameters = {
        "archived_before": due.archived_before.isoformat(),
        "deleted_before": due.deleted_before.isoformat(),
        "late_to_archive": overdue.archived_before.isoformat(),
        "late_to_delete": overdue.deleted_before.isoformat(),
    }
    with translated, connections["default"].cursor() as cursor:
        cursor.execute(_TIERS, parameters)
        return Tiers(*(count or 0 for count in cursor.fetchone()))


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

_TIERS = f"""
    SELECT sum(hot), sum(cold),
        sum(hot * (day < %(archived_before)s) + cold * (day < %(deleted_before)s)),
        sum(hot * (day < %(late_to_archive)s) + cold * (day < %(late_to_delete)s))
    FROM {_OF_MODEL} WHERE hot > 0 OR cold > 0
"""  # noqa: S608  (the name of our table)

_SUMS = f"""
    SELECT {{span}} AS span, model_used, sum(interactions), sum(unanswered), sum(input_tokens),
        sum(output_tokens), user_id
    FROM {_OF_USER}
    WHERE user_id IN ({{users}}) AND day BETWEEN %(first)s AND %(last)s
    AND (%(model)s IS NULL OR model_used = %(model)s)
    GROUP BY user_id, span, model_used
"""  # noqa: S608  (the name of our table)
