"""The roll-ups of usage as maintenance needs them: counted again, corrected, and deleted."""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from django.db import connections, transaction
from django.db.models import Min, QuerySet

from storage.accounts.transactions import ALIAS, run_for_each
from storage.models import UsageOfModel, UsageOfUser, UsageRebuild
from storage.records.sums import added, bounded
from storage.sql.errors import translated

SUMS = ("interactions", "unanswered", "input_tokens", "output_tokens")
TIERS = ("hot", "cold")

ONLY = 1
"""The key of the row about a rebuild, so that two processes do not make two."""

Numbers = Counter[str]
"""By SUMS and, of a model, TIERS. Corrections may be negative."""


@dataclass
class DayUsage:
    """All roll-ups of a day."""

    models: dict[str, Numbers] = field(default_factory=dict)
    """By model."""
    users: dict[tuple[str, str], Numbers] = field(default_factory=dict)
    """By user and model."""


def _added(table: str, keys: tuple[str, ...], numbers: tuple[str, ...]) -> str:
    columns = (*keys, *numbers)
    values = ", ".join(f"%({name})s" for name in columns)
    sums = ", ".join(f"{name} = {added(name)}" for name in numbers)
    return (
        f"INSERT INTO {table} AS stored ({', '.join(columns)}) VALUES ({values}) "  # noqa: S608  (names)
        f"ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {sums}"
    )


_OF_USER = UsageOfUser._meta.db_table

# From one day to the next: a step in the index for each, however far apart they are.
_DAYS_OF_USERS = f"""
    WITH RECURSIVE days(day) AS (
        SELECT min(day) FROM {_OF_USER} WHERE day >= %(first)s
        UNION ALL
        SELECT (SELECT min(day) FROM {_OF_USER} AS used WHERE used.day > days.day)
        FROM days WHERE days.day IS NOT NULL
    )
    SELECT day FROM days WHERE day <= %(last)s
"""  # noqa: S608  (the name of our table)

_ADD_TO_MODEL = _added(UsageOfModel._meta.db_table, ("day", "model_used"), SUMS + TIERS)
_ADD_TO_USER = _added(_OF_USER, ("day", "user_id", "model_used"), SUMS)


def of_day(day: date) -> DayUsage:
    """What is stored of a day. Raises StorageError."""
    usage = DayUsage()
    with translated:
        for of_model in UsageOfModel.objects.filter(day=day):
            usage.models[of_model.model_used] = _numbers(of_model, SUMS + TIERS)
        for of_user in UsageOfUser.objects.filter(day=day):
            key = of_user.user_id, of_user.model_used
            usage.users[key] = _numbers(of_user, SUMS)
    return usage


def _numbers(row: Any, names: tuple[str, ...]) -> Numbers:
    return Counter({name: bounded(getattr(row, name)) for name in names})


def add(day: date, corrections: DayUsage) -> None:
    """Add to the roll-ups of a day, and note that it is counted again. Raises StorageError.

    Differences are added, and no totals set: what has been counted meanwhile stays.
    """
    zero = dict.fromkeys(SUMS + TIERS, 0)
    models = [
        zero | _bounded(numbers) | {"day": day.isoformat(), "model_used": model}
        for model, numbers in sorted(corrections.models.items())
    ]
    users = [
        zero | _bounded(numbers) | {"day": day.isoformat(), "user_id": user_id, "model_used": model}
        for (user_id, model), numbers in sorted(corrections.users.items())
    ]
    with translated, transaction.atomic(ALIAS):
        run_for_each(_ADD_TO_MODEL, models)
        run_for_each(_ADD_TO_USER, users)
        UsageRebuild.objects.using(ALIAS).update(done_until=day)


def _bounded(numbers: Numbers) -> dict[str, int]:
    return {name: bounded(number) for name, number in numbers.items()}


def days() -> set[date]:
    """The days that have roll-ups of models. Raises StorageError."""
    with translated:
        return set(UsageOfModel.objects.order_by().values_list("day", flat=True).distinct())


# The rebuild.


def is_rebuild_due() -> bool:
    """Whether roll-ups lack what only a rebuild can count. Raises StorageError."""
    with translated:
        return UsageRebuild.objects.using(ALIAS).exists()


def require_rebuild(alias: str = ALIAS) -> None:
    """Let everything be counted again, from the first day on. Raises StorageError."""
    with translated, transaction.atomic(alias):
        UsageRebuild.objects.using(alias).all().delete()
        UsageRebuild.objects.using(alias).get_or_create(pk=ONLY)


def begin_rebuild() -> date | None:
    """Begin one, or go on. Returns the last day that is done, or None. Raises StorageError."""
    with translated:
        if not UsageRebuild.objects.using(ALIAS).exists():
            UsageRebuild.objects.using(ALIAS).get_or_create(pk=ONLY)
        return UsageRebuild.objects.using(ALIAS).values_list("done_until", flat=True)[0]


def end_rebuild() -> None:
    """Note that all days are counted. Raises StorageError."""
    with translated:
        UsageRebuild.objects.using(ALIAS).all().delete()


# Roll-ups of users, which are personal data.


def users(alias: str) -> set[str]:
    """All users who have roll-ups. Raises StorageError."""
    rows = UsageOfUser.objects.using(alias).order_by()
    with translated:
        return set(rows.values_list("user_id", flat=True).distinct())


def rows_of_user(
    user_id: str, alias: str, first: date = date.min, last: date = date.max
) -> "QuerySet[UsageOfUser]":
    """The roll-ups of a user on these days, both inclusive.

    Looked up day by day, since the index begins with the day. May raise DatabaseError.
    """
    with connections[alias].cursor() as cursor:
        cursor.execute(_DAYS_OF_USERS, {"first": first.isoformat(), "last": last.isoformat()})
        days_of_users = [day for (day,) in cursor.fetchall()]
    return UsageOfUser.objects.using(alias).filter(day__in=days_of_users, user_id=user_id)


def oldest_day_of_users(after: date = date.min) -> date | None:
    """The first day after `after` that has roll-ups of users. Raises StorageError."""
    with translated:
        found = UsageOfUser.objects.filter(day__gt=after).aggregate(day=Min("day"))
    oldest: date | None = found["day"]
    return oldest


def remove_users(day: date, kept: Collection[str], limit: int) -> int:
    """Delete up to `limit` roll-ups of users on a day, but of those `kept`; returns their number.

    Raises StorageError.
    """
    of_others = UsageOfUser.objects.filter(day=day).exclude(user_id__in=kept)
    with translated:
        keys = list(of_others.values_list("pk", flat=True)[:limit])
        return UsageOfUser.objects.filter(pk__in=keys).delete()[0] if keys else 0


def correction(stored: Mapping[str, int], counted: Mapping[str, int]) -> Numbers:
    """What has to be added to what is stored of a key, without zeros.

    If more interactions were counted than are left, those are gone: the sums keep them.
    """
    some_are_gone = stored.get("interactions", 0) > counted.get("interactions", 0)
    found: Numbers = Counter()
    for name in {*stored, *counted}:
        difference = counted.get(name, 0) - stored.get(name, 0)
        if name in SUMS and some_are_gone:
            difference = max(difference, 0)
        if difference:
            found[name] = difference
    return found
