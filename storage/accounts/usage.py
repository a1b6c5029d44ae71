"""Reading the roll-ups of usage."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from django.db import connections

from storage.models import UsageOfModel, UsageOfUser
from storage.records.sums import bounded, total
from storage.sql.errors import translated

LEADERS_ROWS = 5_000
"""Roll-ups among which the users with most tokens are looked for: users x models x days."""


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


def _usage(day: date, model_used: str, *found: Any) -> Usage:
    """Of what a row has: four numbers and, of users, a name."""
    interactions, unanswered, input_tokens, output_tokens, *of_user = found
    inputs, outputs = bounded(input_tokens), bounded(output_tokens)
    return Usage(day, model_used, interactions, unanswered, inputs, outputs, *of_user)


def of_models(first: date, last: date, model_used: str | None = None) -> list[Usage]:
    """The usage of all users on these days, both inclusive, in their order. Raises StorageError."""
    rows = UsageOfModel.objects.filter(day__range=(first, last))
    if model_used is not None:
        rows = rows.filter(model_used=model_used)
    columns = ("day", "model_used", "interactions", "unanswered", "input_tokens", "output_tokens")
    with translated:
        return [_usage(*row) for row in rows.order_by("day", "model_used").values_list(*columns)]


def of_users(
    user_ids: Sequence[str], first: date, last: date, model_used: str | None = None
) -> list[Usage]:
    """The usage of a few users, by user, day and model. Raises StorageError."""
    given, users = _given(user_ids)
    parameters = _parameters(first, last, model_used) | users
    return [
        _usage(_date(day), *rest) for day, *rest in _rows(_OF_USERS.format(users=given), parameters)
    ]


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
    given, users = _given(user_ids)
    return _sums(given, first, last, starts, _parameters(first, last, model_used) | users)


def _given(user_ids: Sequence[str]) -> tuple[str, dict[str, str]]:
    """What selects these users, and its parameters."""
    users = {f"user{number}": user_id for number, user_id in enumerate(user_ids)}
    return ", ".join(f"%({name})s" for name in users) or "NULL", users


def sums_of_leaders(
    limit: int, first: date, last: date, starts: Sequence[date], model_used: str | None = None
) -> list[Usage]:
    """As `sums_of_users`, of those with most tokens in the newest LEADERS_ROWS roll-ups.

    To sum up every user would take as long as there are users. Raises StorageError.
    """
    leaders = {"rows": LEADERS_ROWS, "limit": limit}
    return _sums(_LEADERS, first, last, starts, _parameters(first, last, model_used) | leaders)


def _sums(
    users: str, first: date, last: date, starts: Sequence[date], parameters: dict[str, Any]
) -> list[Usage]:
    """The sums of users, whom `users` selects."""
    begins = {f"start{index}": start.isoformat() for index, start in enumerate(starts)}
    span = "+".join(f"CASE WHEN day >= %({name})s THEN 1 ELSE 0 END" for name in begins) or "0"
    # No annotations of the ORM: to compile them takes longer than to run this.
    rows = _rows(_SUMS.format(span=span, users=users), parameters | begins)
    days = [first, *starts]
    return [_usage(days[number], *rest) for number, *rest in rows]


def users(first: date, last: date, after: str, limit: int) -> list[str]:
    """Up to `limit` users with usage on these days, by code point, after the user `after`.

    Raises StorageError.
    """
    parameters = _parameters(first, last, None) | {"after": after, "limit": limit}
    return [user_id for (user_id,) in _rows(_USERS, parameters)]


def tiers(due: Ages, overdue: Ages) -> Tiers:
    """What there is now. Raises StorageError."""
    parameters = {
        "archived_before": due.archived_before.isoformat(),
        "deleted_before": due.deleted_before.isoformat(),
        "late_to_archive": overdue.archived_before.isoformat(),
        "late_to_delete": overdue.deleted_before.isoformat(),
    }
    (found,) = _rows(_TIERS, parameters)
    return Tiers(*(count or 0 for count in found))


def _rows(sql: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    with translated, connections["default"].cursor() as cursor:
        cursor.execute(sql, parameters)
        return list(cursor.fetchall())


def _parameters(first: date, last: date, model_used: str | None) -> dict[str, Any]:
    return {"first": first.isoformat(), "last": last.isoformat(), "model": model_used}


def _date(value: date | str) -> date:
    """A day as PostgreSQL returns it, or as SQLite does."""
    return value if isinstance(value, date) else date.fromisoformat(value)


def _before(column: str, day: str) -> str:
    return f"CASE WHEN day < %({day})s THEN {column} ELSE 0 END"


_OF_MODEL = UsageOfModel._meta.db_table
_OF_USER = UsageOfUser._meta.db_table

# ruff: noqa: S608  (only names of our tables are put into SQL)

# The index of roll-ups of users begins with the day, so a user is found day by day.
_DAYS = f"SELECT DISTINCT day FROM {_OF_MODEL} WHERE day BETWEEN %(first)s AND %(last)s"
_LEADERS = f"""
    SELECT user_id FROM (SELECT * FROM {_OF_USER} ORDER BY id DESC LIMIT %(rows)s) AS newest
    WHERE day BETWEEN %(first)s AND %(last)s AND (%(model)s IS NULL OR model_used = %(model)s)
    GROUP BY user_id ORDER BY sum(1.0 * input_tokens + output_tokens) DESC, user_id LIMIT %(limit)s
"""
_WHERE = f"""
    FROM {_OF_USER} WHERE day IN ({_DAYS}) AND user_id IN ({{users}})
    AND (%(model)s IS NULL OR model_used = %(model)s)
"""
_OF_USERS = f"""
    SELECT day, model_used, interactions, unanswered, input_tokens, output_tokens, user_id {_WHERE}
    ORDER BY user_id, day, model_used
"""
_SUMS = f"""
    SELECT {{span}} AS span, model_used, {total("interactions")}, {total("unanswered")},
        {total("input_tokens")}, {total("output_tokens")}, user_id {_WHERE}
    GROUP BY user_id, span, model_used
"""

# From one user to the next: a step in the index for each day, however many rows there are.
_NEXT = f"""
    SELECT min((SELECT min(user_id) FROM {_OF_USER} AS used
        WHERE used.day = days.day AND used.user_id > {{after}})) FROM days
"""
_USERS = f"""
    WITH RECURSIVE days AS MATERIALIZED ({_DAYS}), found(user_id) AS (
        SELECT ({_NEXT.format(after="%(after)s")})
        UNION ALL
        SELECT ({_NEXT.format(after="found.user_id")}) FROM found WHERE found.user_id IS NOT NULL
    )
    SELECT user_id FROM found WHERE user_id IS NOT NULL LIMIT %(limit)s
"""
_TIERS = f"""
    SELECT {total("hot")}, {total("cold")},
        {total(_before("hot", "archived_before") + " + " + _before("cold", "deleted_before"))},
        {total(_before("hot", "late_to_archive") + " + " + _before("cold", "late_to_delete"))}
    FROM {_OF_MODEL} WHERE hot > 0 OR cold > 0
"""
