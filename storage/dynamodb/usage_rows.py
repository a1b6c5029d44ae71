"""The rows of the SQL database that following the stream reads and writes.

All functions but `positions` and `complete_until` write. Whoever calls several of them for one
purpose does so in a transaction.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connections, transaction
from django.db.models import Exists, Model

from storage.archive.pseudonyms import all_pseudonyms
from storage.dynamodb.stream import Record, Shard
from storage.dynamodb.usage_changes import IsForgotten, Sums, Totals
from storage.models import ForgottenUser, StreamPosition, UsageOfModel, UsageOfUser, UsageRebuild
from storage.records.sums import added, bounded

ALIAS = "default"

SUMS = ("interactions", "unanswered", "input_tokens", "output_tokens")

OVER = timedelta(days=2)
"""After this time no stream knows what was before."""

Positions = Mapping[str, StreamPosition]
"""By the name of the shard."""


def positions(stream: str) -> Positions:
    """The positions in a stream."""
    rows = StreamPosition.objects.using(ALIAS).filter(stream=stream).order_by("pk")
    return {row.shard: row for row in rows}


def complete_until(rows: Iterable[StreamPosition]) -> datetime | None:
    """The time up to which all changes are counted, or None if a rebuild has to count some."""
    known = list(rows)
    if not known or is_rebuild_due():
        return None
    open_ones = [row.counted_until for row in known if not row.is_closed]
    until = min(open_ones) if open_ones else max(row.counted_until for row in known)
    return until.astimezone(UTC)


def begin(stream: str, shards: Collection[str], since: datetime) -> None:
    """Start at the beginning of these shards, unless something was counted from elsewhere."""
    with transaction.atomic(ALIAS):
        if not any(
            model.objects.using(ALIAS).exists()
            for model in (StreamPosition, UsageOfModel, UsageOfUser, UsageRebuild)
        ):
            _add(StreamPosition(stream=stream, shard=name, counted_until=since) for name in shards)


def add_shards(stream: str, shards: Sequence[Shard], known: Positions) -> None:
    """Add positions in shards that are new; each goes on where its parent ended."""
    earliest = min(row.counted_until for row in known.values())
    until = {name: row.counted_until for name, row in known.items()}
    _add(
        StreamPosition(
            stream=stream,
            shard=shard.name,
            counted_until=until.get(shard.parent or "", earliest),
        )
        for shard in shards
        if shard.name not in known
    )


def close(rows: Iterable[StreamPosition]) -> None:
    """Take shards for ended and counted, and forget those that were long ago."""
    keys = [row.pk for row in rows]
    found = StreamPosition.objects.using(ALIAS)
    found.filter(pk__in=keys).update(is_closed=True)
    found.filter(is_closed=True, counted_until__lt=datetime.now(UTC) - OVER).delete()


def lose() -> None:
    """Remember that changes are missing, and that all days have to be counted again."""
    with transaction.atomic(ALIAS):
        StreamPosition.objects.using(ALIAS).all().delete()
        UsageRebuild.objects.using(ALIAS).all().delete()
        UsageRebuild.objects.using(ALIAS).get_or_create(pk=1)  # as `roll_ups.ONLY`


def is_rebuild_due() -> bool:
    """Whether only a rebuild can count what is missing."""
    return UsageRebuild.objects.using(ALIAS).exists()


def waits_for_rebuild() -> bool:
    """Whether a rebuild is due, and no stream is followed until it begins."""
    followed = StreamPosition.objects.using(ALIAS)
    return UsageRebuild.objects.using(ALIAS).filter(~Exists(followed)).exists()


def start_again(rows: Iterable[StreamPosition]) -> None:
    """Follow from these positions on, and forget all others."""
    with transaction.atomic(ALIAS):
        StreamPosition.objects.using(ALIAS).all().delete()
        _add(rows)


def move(row: StreamPosition, sequence: str, until: datetime, *, is_closed: bool) -> bool:
    """Move a position. Returns False, and does nothing, if it is elsewhere by now."""
    same = StreamPosition.objects.using(ALIAS).filter(
        pk=row.pk, sequence=row.sequence, is_closed=False
    )
    return bool(same.update(sequence=sequence, counted_until=until, is_closed=is_closed))


def count(records: Iterable[Record]) -> None:
    """Add changes to the roll-ups."""
    totals = Totals(_forgotten())
    for record in records:
        totals.add(record)
    _increase(UsageOfModel, ("day", "model_used"), (*SUMS, "hot", "cold"), totals.of_models)
    _increase(UsageOfUser, ("day", "user_id", "model_used"), SUMS, totals.of_users)


def _forgotten() -> IsForgotten:
    """Whether a user was erased after a creation, or after a change."""
    forgotten = dict(ForgottenUser.objects.using(ALIAS).values_list("pseudonym", "at"))
    if not forgotten:
        return lambda *_: False
    known: dict[str, datetime | None] = {}

    def is_forgotten(user_id: str, created_at: str, changed_at: datetime) -> bool:
        if user_id not in known:
            times = [forgotten[name] for name in all_pseudonyms(user_id) if name in forgotten]
            known[user_id] = max(times, default=None)
        at = known[user_id]
        return at is not None and (datetime.fromisoformat(created_at) <= at or changed_at <= at)

    return is_forgotten


def _increase(
    model: type[Model], keys: Sequence[str], numbers: Sequence[str], sums: Mapping[Any, Sums]
) -> None:
    # In the order of their keys: PostgreSQL ends one of two processes that wait for each other.
    rows = [(*key, *map(bounded, values)) for key, values in sorted(sums.items()) if any(values)]
    if not rows:
        return
    columns = (*keys, *numbers)
    # The tables and columns are ours.
    statement = (
        f"INSERT INTO {model._meta.db_table} AS stored ({', '.join(columns)}) "  # noqa: S608
        f"VALUES ({', '.join('%s' for _ in columns)}) "
        f"ON CONFLICT ({', '.join(keys)}) DO UPDATE SET "
        + ", ".join(f"{name} = {added(name)}" for name in numbers)
    )
    with connections[ALIAS].cursor() as cursor:
        cursor.executemany(statement, rows)


def _add(rows: Iterable[StreamPosition]) -> None:
    StreamPosition.objects.using(ALIAS).bulk_create(rows, ignore_conflicts=True)
