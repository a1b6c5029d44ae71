"""Tier transitions in SQLite. A hot interaction has a row, a cold one a stub in another table.

Each transition is one transaction. It changes few rows, so that other writers wait no longer for it
than for a few saves.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, TypeVar

from django.db import transaction

from storage import expiry
from storage.compat import batched
from storage.database import Named
from storage.large.rows import LargeRows
from storage.large.stand_ins import Kept, as_in
from storage.models import ArchivedInteraction, ChatInteraction
from storage.records.stubs import Segments, Stub, segment_of
from storage.records.texts import OBJECT, TextObject
from storage.sql.errors import translated
from storage.sqlite import queries, usage
from storage.sqlite.statements import Statements

ROWS_AT_ONCE = 1_000
"""Rows per transaction, which takes about 50 ms."""

Row = dict[str, Any]
"""The values of a row, as `queries.to_parameters` returns them."""

T = TypeVar("T")


def stub(statements: Statements, interaction_id: str) -> Stub | None:
    """Returns the stub of an id, or None."""
    rows = statements.rows(
        queries.select_stub(statements.alias), {"interaction_id": interaction_id}
    )
    return queries.to_stub(rows[0]) if rows else None


def stubs(alias: str, interaction_ids: Sequence[str]) -> dict[str, Stub]:
    """Returns the stubs of these ids, by id."""
    found: dict[str, Stub] = {}
    with translated:
        for ids in batched(interaction_ids, ROWS_AT_ONCE):
            rows = _stub_rows(alias).filter(pk__in=ids)
            found |= {stub.interaction_id: stub for stub in _stubs(rows)}
    return found


def look_at(
    statements: Statements, interaction_ids: Sequence[str]
) -> dict[str, ChatInteraction | Stub]:
    """See `Database.look_at`. The interactions may have stand-ins."""
    found: dict[str, ChatInteraction | Stub] = {}
    parameters = {"ids": json.dumps(list(interaction_ids))}
    with statements.snapshot():
        for row in statements.rows(queries.select_stubs(statements.alias), parameters):
            stub = queries.to_stub(row)
            found[stub.interaction_id] = stub
        for row in statements.rows(queries.select_by_ids(statements.alias), parameters):
            interaction = queries.to_interaction(row)
            if not expiry.has_expired(interaction.created_at):
                found[interaction.interaction_id] = interaction
    return found


def all_stubs(alias: str) -> Iterator[Stub]:
    """Yields all stubs in the order of their ids, reading page by page."""
    rows = _stub_rows(alias).order_by("pk")
    last = ""
    while True:
        with translated:
            page = _stubs(rows.filter(pk__gt=last)[:ROWS_AT_ONCE])
        yield from page
        if not page:
            return
        last = page[-1].interaction_id


def all_text_objects(alias: str) -> Iterator[Named]:
    """See `Database.all_text_objects`. By an index that has only those."""
    rows = ChatInteraction.objects.using(alias).filter(text_object__isnull=False)
    columns = rows.order_by(OBJECT).values_list("user_id", "interaction_id", OBJECT)
    last = ""
    while True:
        with translated:
            page = list(columns.filter(text_object__gt=last)[:ROWS_AT_ONCE])
        yield from ((user_id, row_id, TextObject.loads(kept)) for user_id, row_id, kept in page)
        if not page:
            return
        last = page[-1][2]


def move(
    statements: Statements,
    large: LargeRows,
    interactions: Sequence[ChatInteraction],
    segments: Segments,
) -> int:
    """See `Database.move_to_cold`."""
    total = 0
    for part in batched(interactions, ROWS_AT_ONCE):
        with translated:
            moved = _moved(statements, part, segments)
        large.remove(kept_in((row["user_id"], row["interaction_id"], row[OBJECT]) for row in moved))
        total += len(moved)
    return total


def _moved(
    statements: Statements, interactions: Sequence[ChatInteraction], segments: Segments
) -> list[Row]:
    """Move what is as given, in a transaction. Returns those rows.

    If some have changed, which is rare, that is done in a second transaction, and not after a
    savepoint: with one, SQLite goes through all pages that it keeps for it after each statement,
    which took 9 of 10 parts of an archive run.
    """

    def move_all() -> list[Row]:
        rows = _rows_of(statements, interactions)
        _delete_all(statements, rows)
        _put_stubs(statements, rows, segments)
        return rows

    def move_unchanged() -> list[Row]:
        sql = queries.delete_unchanged(statements.alias)
        rows = [row for row in _rows_of(statements, interactions) if statements.many(sql, [row])]
        _put_stubs(statements, rows, segments)
        return rows

    try:
        return statements.transaction(move_all)
    except _SomeChanged:
        return statements.transaction(move_unchanged)


def _rows_of(statements: Statements, interactions: Sequence[ChatInteraction]) -> list[Row]:
    return [queries.to_parameters(row) for row in _with_stand_ins(statements, interactions)]


def _with_stand_ins(
    statements: Statements, interactions: Sequence[ChatInteraction]
) -> list[ChatInteraction]:
    """The interactions with stand-ins for those texts for which the stored rows have them."""
    ids = json.dumps([interaction.interaction_id for interaction in interactions])
    rows = statements.rows(queries.select_objects(statements.alias), {"ids": ids})
    stored = {interaction_id: reference for _, interaction_id, reference in rows}
    return [
        as_in(reference, interaction)
        if (reference := stored.get(interaction.interaction_id))
        else interaction
        for interaction in interactions
    ]


class _SomeChanged(Exception):
    """Not all rows are as they were read."""


def _delete_all(statements: Statements, rows: Sequence[Row]) -> None:
    """Delete all rows. Raises _SomeChanged if one is not exactly as given: then take it back."""
    if statements.many(queries.delete_unchanged(statements.alias), rows) != len(rows):
        raise _SomeChanged


def _put_stubs(statements: Statements, rows: Sequence[Row], segments: Segments) -> None:
    put = [row | {"segment": segment_of(segments, row["interaction_id"])} for row in rows]
    statements.many(queries.insert_stub(statements.alias), put)


def bring_back(
    statements: Statements,
    large: LargeRows,
    interactions: Sequence[ChatInteraction],
    segment: str,
) -> int:
    """See `Database.return_from_cold`."""
    alias = statements.alias

    def bring_rows_back(rows: Sequence[ChatInteraction]) -> list[ChatInteraction]:
        cold = [row for row in rows if _delete_stubs(alias, [row.interaction_id], segment)]
        found = [queries.to_parameters(row) for row in cold]
        for row in found:
            statements.rows(queries.insert(alias), row)
        usage.uncount_returned(statements, found)
        return cold

    total = 0
    for part in batched(interactions, ROWS_AT_ONCE):
        packed = large.packed_all(part)
        with large.committing(*packed), translated, transaction.atomic(alias):
            cold = bring_rows_back(packed)
        returned = {row.interaction_id for row in cold}
        large.discard([row for row in packed if row.interaction_id not in returned])
        total += len(cold)
    return total


def adopt(alias: str, interactions: Sequence[ChatInteraction], segment: str) -> bool:
    """See `Database.adopt`."""

    def adopt_rows(rows: Sequence[ChatInteraction]) -> int:
        ids = [row.interaction_id for row in rows]
        hot_rows = ChatInteraction.objects.using(alias).filter(pk__in=ids)
        hot = set(hot_rows.values_list("pk", flat=True))
        named = dict(_stub_rows(alias).filter(pk__in=ids).values_list("pk", "segment"))
        taken = hot | named.keys()
        new = [row for row in rows if row.interaction_id not in taken]
        _make_stubs(alias, new, segment)
        return sum(each not in hot and named.get(each, segment) == segment for each in ids)

    return _in_transactions(alias, adopt_rows, interactions) == len(interactions)


def move_stubs(
    alias: str, interactions: Sequence[ChatInteraction], segment: str, to_segment: str
) -> int:
    """See `Database.move_stubs`. One of another time is made anew, so that triggers count it."""

    def move_some(rows: Sequence[ChatInteraction]) -> int:
        by_id = {row.interaction_id: row for row in rows}
        found = _stub_rows(alias).filter(pk__in=by_id, segment=segment)
        others = [
            by_id[pk]
            for pk, created_at in found.values_list("pk", "created_at")
            if created_at != by_id[pk].created_at
        ]
        _delete_stubs(alias, [row.interaction_id for row in others], segment)
        _make_stubs(alias, others, to_segment)
        return int(found.update(segment=to_segment)) + len(others)

    return _in_transactions(alias, move_some, interactions)


def drop(alias: str, interaction_ids: Sequence[str], segment: str) -> int:
    """See `Database.drop_stubs`."""
    return _in_transactions(alias, lambda ids: _delete_stubs(alias, ids, segment), interaction_ids)


def remove_expired_stubs(alias: str, until: datetime, limit: int) -> int:
    """See `Database.remove_expired_stubs`."""
    expired = _stub_rows(alias).filter(created_at__lte=until)
    with translated:
        ids = list(expired.order_by("created_at").values_list("pk", flat=True)[:limit])
    return remove_from(alias, expired, ids)


def free_expired(alias: str, interaction_id: str, cutoff: datetime) -> None:
    """Delete the stub of an id if its interaction was created at or before `cutoff`."""
    _stub_rows(alias).filter(pk=interaction_id, created_at__lte=cutoff).delete()


def remove_from(alias: str, rows: Any, ids: Sequence[str]) -> int:
    """Delete the rows of a queryset with these primary keys; returns their number."""
    return _in_transactions(alias, lambda part: rows.filter(pk__in=part).delete()[0], ids)


def remove_hot(
    statements: Statements, large: LargeRows, ids: Sequence[str], until: datetime
) -> int:
    """Delete the hot rows with these ids created at or before `until`; returns their number."""
    rows = ChatInteraction.objects.using(statements.alias).filter(created_at__lte=until)

    def remove(part: Sequence[str]) -> tuple[int, list[Kept]]:
        given = rows.filter(pk__in=part)
        named = given.exclude(text_object=None)
        gone = kept_in(named.values_list("user_id", "interaction_id", "text_object"))
        return given.delete()[0], gone

    return _removing_objects(statements.alias, large, remove, ids)


def remove_of_user(
    statements: Statements, large: LargeRows, ids: Sequence[str], user_id: str
) -> int:
    """Delete the hot rows with these ids that are a user's; returns their number."""
    sql = queries.delete_of_user(statements.alias)

    def remove(part: Sequence[str]) -> tuple[int, list[Kept]]:
        deleted = statements.write(sql, {"ids": json.dumps(part), "user_id": user_id})
        return len(deleted), kept_in(deleted)

    return _removing_objects(statements.alias, large, remove, ids)


def kept_in(deleted: Iterable[tuple[Any, ...]]) -> list[Kept]:
    """The objects of rows that a statement has deleted."""
    return [(user_id, row_id, kept) for user_id, row_id, kept in deleted if kept is not None]


def _stub_rows(alias: str) -> Any:
    return ArchivedInteraction.objects.using(alias)


def _make_stubs(alias: str, interactions: Iterable[ChatInteraction], segment: str) -> None:
    _stub_rows(alias).bulk_create(
        ArchivedInteraction(
            interaction_id=row.interaction_id,
            created_at=row.created_at,
            segment=segment,
            model_used=row.model_used,
        )
        for row in interactions
    )


def _stubs(rows: Any) -> list[Stub]:
    return [Stub(*row) for row in rows.values_list("interaction_id", "created_at", "segment")]


def _delete_stubs(alias: str, interaction_ids: Sequence[str], segment: str) -> int:
    found = _stub_rows(alias).filter(pk__in=interaction_ids, segment=segment)
    return int(found.delete()[0])


def _removing_objects(
    alias: str,
    large: LargeRows,
    do: Callable[[Sequence[T]], tuple[int, list[Kept]]],
    items: Sequence[T],
) -> int:
    """As `_in_transactions`; removes the objects that `do` names, once their rows are gone."""
    total = 0
    for part in batched(items, ROWS_AT_ONCE):
        with translated, transaction.atomic(alias):
            count, gone = do(part)
        large.remove(gone)
        total += count
    return total


def _in_transactions(alias: str, do: Callable[[Sequence[T]], int], items: Sequence[T]) -> int:
    """Call `do` with batches of items, each in one transaction; returns the sum of its results."""
    total = 0
    for part in batched(items, ROWS_AT_ONCE):
        with translated, transaction.atomic(alias):
            total += do(part)
    return total
